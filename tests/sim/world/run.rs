//! Running a world on a thread of its own, whatever becomes of it.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Once, mpsc};
use std::time::Duration;

use super::World;
use crate::story::Story;
use crate::system;

/// How long a world may take outside. A loop that never waits lets none of its time pass.
const REAL_MAX: Duration = Duration::from_secs(180);

thread_local! {
    /// Whether a host's process runs.
    pub(super) static INSIDE: Cell<bool> = const { Cell::new(false) };
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// What has panicked since the last time that this was asked.
pub(super) fn panics() -> Vec<String> {
    PANICS.take()
}

/// How a world went.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    /// Of everything that happened.
    pub(crate) hash: u64,
    pub(crate) wrong: Vec<String>,
    pub(crate) figures: Figures,
}

/// What there was to be judged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    pub(crate) answered: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    pub(crate) revisions: u64,
    pub(crate) faults: usize,
    pub(crate) repairs: usize,
    pub(crate) other_disks: usize,
    pub(crate) new_members: usize,
    pub(crate) starts: u32,
    pub(crate) virtual_ms: u128,
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Figures { answered, refused, unknown, revisions, faults, repairs, .. } = self;
        let Figures { other_disks, new_members, starts, virtual_ms, .. } = self;
        write!(f, "answered={answered} refused={refused} unknown={unknown} revisions={revisions} ")?;
        write!(f, "faults={faults} repairs={repairs} other-disks={other_disks} new-members={new_members} ")?;
        write!(f, "starts={starts} virtual-ms={virtual_ms}")
    }
}

/// Runs the world of a seed, on a thread of its own, with its files in `directory`.
pub(crate) fn run(seed: u64, directory: PathBuf, story: Story) -> Outcome {
    note_panics();
    let (tell, told) = mpsc::channel();
    let thread = std::thread::Builder::new().name(format!("seed {seed}")).stack_size(16 << 20);
    let world = thread.spawn(move || {
        system::simulate(seed);
        let lived = catch_unwind(AssertUnwindSafe(|| World::new(seed, &directory, story).live()));
        // Nobody waits any more where that took too long.
        let _ = tell.send(lived.map_err(|_| PANICS.take()));
    });
    drop(world.expect("there is a thread"));
    let failed = |why: String| Outcome { seed, hash: 0, wrong: vec![why], figures: Figures::default() };
    match told.recv_timeout(REAL_MAX) {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panics)) => failed(format!("the world itself has failed: {panics:#?}")),
        Err(_) => failed("time does not go on: something in it goes round without waiting".to_owned()),
    }
}

/// A panic of a task is told to nobody but who waits for it: here it is always wrong.
fn note_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| match INSIDE.get() {
            true => PANICS.with_borrow_mut(|panics| panics.push(panic.to_string())),
            false => usual(panic),
        }));
    });
}
