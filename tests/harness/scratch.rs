//! Folders for what shall be gone afterwards.

use tempfile::TempDir;

/// In memory, where the system has such a place: there a sync costs nothing.
///
/// # Panics
/// Where there is no room.
#[must_use]
pub fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("there is room")
}
