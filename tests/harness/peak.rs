//! The most memory that a process had over some time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::server::Server;

/// Pause between two readings.
const PAUSE: Duration = Duration::from_millis(1);

/// Reads a process's memory in a thread of its own until it is dropped: what is there between two events of a test counts.
pub struct Peak {
    bytes: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Peak {
    /// Begins to read.
    #[must_use]
    pub fn of(server: &Server) -> Peak {
        let (bytes, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (pid, most, ended) = (server.pid(), bytes.clone(), ends.clone());
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let Ok(bytes) = anonymous_bytes(pid) else { return };
                most.fetch_max(bytes, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
        });
        Peak { bytes, ends, thread: Some(thread) }
    }

    /// The most so far, in bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Drop for Peak {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// Memory of a process that is no file, in bytes.
///
/// # Errors
/// It is gone.
pub fn anonymous_bytes(pid: u32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).context("a line of it")?;
    let kib: u64 = line.split_whitespace().next().context("a number")?.parse()?;
    Ok(kib << 10)
}
