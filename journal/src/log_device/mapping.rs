//! The one place where a file becomes memory.

use std::fs::File;
use std::io;
use std::sync::Arc;

use super::Mapping;

/// Maps a sealed segment for reading.
#[allow(unsafe_code)]
pub(super) fn map(file: &File) -> io::Result<Mapping> {
    // SAFETY: the bytes must not change while they are mapped. The file belongs to a directory that this process
    // has locked; only the log writes to it, and only to its newest segment. A segment is mapped after it was
    // sealed, is never truncated, and is recycled (written again) only by whoever owns it alone: `Segment` keeps
    // the mapping in an `Arc`, and recycling needs both the segment and the mapping to have no other holder;
    // otherwise the file is removed, and the mapping keeps its content.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Arc::new(map))
}
