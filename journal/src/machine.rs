//! What a process has of its machine besides clock and network: threads, and the disk under its journal.
//!
//!     in production   what blocks, or has a pace of its own, has a thread       files
//!     simulated       the same work comes in turns on the one thread there is   a `Disk` in memory, which fails as told
//!
//! Which of the two it is depends on the thread: whoever simulates says so of the one that it runs everything on.

use std::cell::RefCell;
use std::io;

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use crate::log_device::sim::{Faults, Sim as Disk};

thread_local! {
    static SIMULATED: RefCell<Option<Machine>> = const { RefCell::new(None) };
}

/// A simulated machine. Clones are the same machine.
#[derive(Clone)]
pub struct Machine {
    pub disk: Disk,
    /// Of the journal's files there: small ones end within a short life.
    pub segment_bytes: u64,
}

impl Machine {
    /// What runs on this thread from here on, until the value is dropped, runs on this machine.
    #[must_use]
    pub fn enter(&self) -> Entered {
        Entered(SIMULATED.replace(Some(self.clone())))
    }

    /// The machine that this thread simulates. `None`: it is a real one.
    pub(crate) fn simulated() -> Option<Machine> {
        SIMULATED.with_borrow(Clone::clone)
    }
}

/// Leaves the machine when it is dropped.
pub struct Entered(Option<Machine>);

impl Drop for Entered {
    fn drop(&mut self) {
        SIMULATED.replace(self.0.take());
    }
}

pub(crate) fn is_simulated() -> bool {
    SIMULATED.with_borrow(Option::is_some)
}

/// Does what blocks beside the tasks of this runtime.
pub fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    match is_simulated() {
        true => tokio::spawn(async move { work() }),
        false => tokio::task::spawn_blocking(work),
    }
}

/// Lets go of what takes its time to be freed, beside the tasks of this runtime.
pub(crate) fn discard<T: Send + 'static>(value: T) {
    if tokio::runtime::Handle::try_current().is_ok() {
        spawn_blocking(move || drop(value));
    }
}

/// A thread of this name with a runtime of its own. Resolves when both have ended, with an error where it has panicked.
///
/// # Errors
/// When there is no thread or descriptor left.
pub fn spawn_runtime<F: Future<Output = ()> + Send>(
    name: &str,
    run: impl FnOnce() -> F + Send + 'static,
) -> io::Result<oneshot::Receiver<()>> {
    let (tell, ended) = oneshot::channel();
    if is_simulated() {
        tokio::spawn(async move {
            run().await;
            // Whoever started it may have left without waiting.
            let _ = tell.send(());
        });
        return Ok(ended);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        runtime.block_on(run());
        drop(runtime);
        let _ = tell.send(());
    })?;
    Ok(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine() -> Machine {
        Machine { disk: Disk::default(), segment_bytes: 1 << 20 }
    }

    #[tokio::test]
    async fn a_simulated_machine_has_one_thread() {
        let here = || std::thread::current().id();
        let (me, entered) = (here(), machine().enter());
        assert_eq!(spawn_blocking(here).await.unwrap(), me);
        let (tell, told) = oneshot::channel();
        let run = move || async move { tell.send(here()).expect("somebody waits") };
        spawn_runtime("other", run).unwrap().await.unwrap();
        assert_eq!(told.await.unwrap(), me);
        drop(entered);
        assert_ne!(spawn_blocking(here).await.unwrap(), me);
    }

    #[tokio::test]
    async fn a_real_machine_has_threads() {
        let (tell, told) = oneshot::channel();
        let run = move || async move { drop(tell.send(std::thread::current().name().map(str::to_owned))) };
        spawn_runtime("other", run).unwrap().await.unwrap();
        assert_eq!(told.await.unwrap().as_deref(), Some("other"));
        assert!(spawn_runtime("panics", || async { panic!("as it should") }).unwrap().await.is_err());
    }
}
