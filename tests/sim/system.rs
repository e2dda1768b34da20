//! The system's clock and chance, as a thread that simulates sees them: virtual, and from its seed.
//!
//! Whatever is linked into this program asks libc for both, std's hash maps among them. So the two functions are defined
//! here. Other threads get the real ones.

#![expect(unsafe_code, reason = "these are libc's functions, which cross into C")]

use std::cell::Cell;
use std::io::Read as _;
use std::time::Duration;

/// What the wall clock says when a simulation begins: 2026-01-01.
const EPOCH_SECONDS: i64 = 1_767_225_600;
const REALTIME: i32 = 0;

thread_local! {
    static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
    static WORLD: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    static CHANCE: Cell<u64> = const { Cell::new(0) };
}

/// From here on this thread's time stands at zero and its chance comes from `seed`.
pub(crate) fn simulate(seed: u64) {
    NOW.set(Some(Duration::ZERO));
    CHANCE.set(seed);
}

/// Sets the clocks of this thread.
pub(crate) fn set_now(now: Duration) {
    NOW.set(Some(now));
}

/// The time of the world, by which its people tell what came first.
pub(crate) fn set_world_now(now: Duration) {
    WORLD.set(now);
}

pub(crate) fn world_now() -> Duration {
    WORLD.get()
}

/// The time that this thread simulates. `None`: it does not.
pub(crate) fn now() -> Option<Duration> {
    NOW.try_with(Cell::get).ok().flatten()
}

/// Bits from the seed (splitmix64).
fn chance() -> u64 {
    let next = CHANCE.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
    CHANCE.set(next);
    let mixed = (next ^ (next >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[repr(C)]
struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

/// libc's.
///
/// # Safety
/// `out` is a place for a `timespec`, as every caller of libc's function promises.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: i32, out: *mut Timespec) -> i32 {
    let told = match now() {
        Some(now) => {
            let base = if clock == REALTIME { EPOCH_SECONDS } else { 1_000 };
            let seconds = base + i64::try_from(now.as_secs()).unwrap_or(i64::MAX / 2);
            Timespec { seconds, nanoseconds: i64::from(now.subsec_nanos()) }
        }
        None => {
            let clock = if clock == REALTIME {
                rustix::time::ClockId::Realtime
            } else {
                rustix::time::ClockId::Monotonic
            };
            let real = rustix::time::clock_gettime(clock);
            Timespec { seconds: real.tv_sec, nanoseconds: real.tv_nsec }
        }
    };
    // SAFETY: the caller promises it of libc's function, which this is.
    unsafe { out.write(told) };
    0
}

/// libc's.
///
/// # Safety
/// `buffer` has room for `length` bytes, as every caller of libc's function promises.
#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(buffer: *mut u8, length: usize, _flags: u32) -> isize {
    let mut rest = length;
    while 0 < rest {
        let part = rest.min(8);
        let bits = if now().is_some() { chance() } else { real_chance() };
        // SAFETY: `part` bytes from here are within what the caller promises, and `bits` has eight.
        unsafe { buffer.add(length - rest).copy_from_nonoverlapping(bits.to_le_bytes().as_ptr(), part) };
        rest -= part;
    }
    isize::try_from(length).unwrap_or(isize::MAX)
}

fn real_chance() -> u64 {
    let mut bits = [0; 8];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bits));
    read.expect("the system has chance");
    u64::from_le_bytes(bits)
}
