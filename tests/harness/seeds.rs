//! Many runs, each from its seed, on as many threads as there are cores.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use parking_lot::Mutex;

/// Runs the seeds in their order until one `is_enough`, and answers what came of it and of all before it.
pub fn run<T: Send>(
    seeds: Range<u64>,
    one: impl Fn(u64) -> T + Sync,
    is_enough: impl Fn(&T) -> bool + Sync,
) -> Vec<T> {
    let (next, end, done) = (AtomicU64::new(seeds.start), AtomicU64::new(seeds.end), Mutex::new(Vec::new()));
    let work = || {
        loop {
            let seed = next.fetch_add(1, Relaxed);
            if end.load(Relaxed) <= seed {
                return;
            }
            let came = one(seed);
            if is_enough(&came) {
                end.fetch_min(seed + 1, Relaxed);
            }
            done.lock().push((seed, came));
        }
    };
    thread::scope(|scope| {
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        (0..threads).for_each(|_| drop(scope.spawn(work)));
    });
    let (mut done, end) = (done.into_inner(), end.into_inner());
    done.retain(|(seed, _)| *seed < end);
    done.sort_unstable_by_key(|(seed, _)| *seed);
    done.into_iter().map(|(_, came)| came).collect()
}

#[cfg(test)]
mod tests {
    use super::run;

    #[test]
    fn all_before_the_first_that_is_enough_are_run() {
        assert_eq!(run(3..200, |seed| seed, |seed| *seed == 90 || *seed == 95), (3..=90).collect::<Vec<_>>());
        assert_eq!(run(3..9, |seed| seed, |_| false), (3..9).collect::<Vec<_>>());
        assert_eq!(run(3..3, |seed| seed, |_| true), Vec::<u64>::new());
    }
}
