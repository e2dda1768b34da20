//! Settings of the C library's allocator, under which large buffers are returned to the system as soon as they are freed.
//!
//! By itself glibc keeps them once one of that size was freed, up to 32 MiB each, and between those in use they cannot be
//! used again: a process that had sent many long lists stayed near its limit, and refused what it had memory for.

/// Bytes from which on a buffer is mapped for itself. Parts of lists between tiers, of 1 MiB, are above it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES: libc::c_int = 512 << 10;
/// Most buffers that are mapped at a time, far below what Linux lets a process map: others come from the heap.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_MAX: libc::c_int = 16_384;
/// Free bytes that the end of a heap may have before they are returned.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TRIMMED_BYTES: libc::c_int = 4 << 20;

/// Settles them for the whole process. Other allocators are left as they are.
pub(crate) fn settle() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (setting, value) in [
        (libc::M_MMAP_THRESHOLD, MAPPED_BYTES),
        (libc::M_MMAP_MAX, MAPPED_MAX),
        (libc::M_TRIM_THRESHOLD, TRIMMED_BYTES),
    ] {
        #[expect(unsafe_code, reason = "there is no other way to tell glibc after a process has begun")]
        // SAFETY: mallopt reads two integers and locks its state itself. What is allocated already stays valid: each block
        // knows where it came from.
        let is_taken = unsafe { libc::mallopt(setting, value) };
        // 0 says that glibc knows no such setting: memory is then used as before.
        debug_assert_eq!(is_taken, 1, "glibc has had these settings since 1996");
    }
}
