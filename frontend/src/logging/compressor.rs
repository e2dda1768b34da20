//! Compression of full log files, on a thread of its own: whoever logs does not wait for it.
//!
//!     etcd-….log ──► etcd-….log.gz.new ──rename──► etcd-….log.gz, and etcd-….log is removed
//!
//! A process that ends meanwhile leaves the full file, which the next process compresses.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::{Condvar, Mutex};

/// Full files that wait. Bounded by the number of files in the folder.
#[derive(Default)]
struct Queue {
    files: BTreeSet<PathBuf>,
    is_closed: bool,
}

/// The thread. Dropping it compresses what waits, and ends it.
pub(super) struct Compressor {
    queue: Arc<(Mutex<Queue>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Compressor {
    /// # Errors
    /// The system has no thread left.
    pub(super) fn start() -> io::Result<Compressor> {
        let queue = Arc::<(Mutex<Queue>, Condvar)>::default();
        let thread = {
            let queue = queue.clone();
            std::thread::Builder::new().name("log-compressor".into()).spawn(move || {
                while let Some(path) = next(&queue) {
                    // The log itself cannot tell it: this may be its only output.
                    if let Err(error) = compress(&path) {
                        let _ = writeln!(
                            io::stderr(),
                            "cannot compress {}: {error}; it stays as it is",
                            path.display()
                        );
                    }
                }
            })?
        };
        Ok(Compressor { queue, thread: Some(thread) })
    }

    /// Compresses the file soon. One that waits already does not wait twice.
    pub(super) fn compress(&self, path: PathBuf) {
        self.queue.0.lock().files.insert(path);
        self.queue.1.notify_one();
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        self.queue.0.lock().is_closed = true;
        self.queue.1.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Waits for the next file. `None`: there will be none.
fn next((queue, changed): &(Mutex<Queue>, Condvar)) -> Option<PathBuf> {
    let mut queue = queue.lock();
    loop {
        if let Some(path) = queue.files.pop_first() {
            return Some(path);
        }
        if queue.is_closed {
            return None;
        }
        changed.wait(&mut queue);
    }
}

fn compress(path: &Path) -> io::Result<()> {
    let mut source = match File::open(path) {
        // It was removed as too old, or was compressed before.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        opened => opened?,
    };
    let with_end = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let (unfinished, compressed) = (with_end(".gz.new"), with_end(".gz"));
    let written = write(&mut source, &unfinished).and_then(|()| std::fs::rename(&unfinished, compressed));
    if let Err(error) = written {
        let _ = std::fs::remove_file(&unfinished);
        return Err(error);
    }
    std::fs::remove_file(path)
}

fn write(source: &mut File, to: &Path) -> io::Result<()> {
    let target = File::create(to)?;
    target.set_permissions(source.metadata()?.permissions())?;
    let mut encoder = GzEncoder::new(target, Compression::default());
    io::copy(source, &mut encoder)?;
    encoder.finish()?.sync_all()
}
