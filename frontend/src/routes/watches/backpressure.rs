//! Backpressure: parts of a watcher that are ahead of the others are not read beyond a bound of bytes.
//!
//!     part a   5 6 7 8 | paused      its memstore keeps nothing for it: the rest is read from history later,
//!     part b   3                     from behind 8
//!
//! A paused part gives up its place and takes one again behind what it was told, as a part does whose memstore has
//! gone. The part that lags most is never paused, so the others go on once it has caught up.

use super::{Tried, WatchKey, Watches};

/// Upper bound on the bytes of events that wait for other parts, for each watcher; the update that reaches it is kept
/// whole.
#[cfg(not(test))]
pub(super) const HELD_BYTES_MAX: usize = 256 << 10;
/// So small that parts are paused all the time.
#[cfg(test)]
pub(super) const HELD_BYTES_MAX: usize = 2 << 10;

impl Watches {
    /// Pauses the parts of a watcher that are ahead, where too much waits; resumes those that are needed again.
    pub(super) fn relieve(&mut self, key: WatchKey) {
        let Some(watcher) = self.watchers.get(&key) else { return };
        let held = watcher.merge.held_bytes();
        if held >= HELD_BYTES_MAX {
            self.pause(key);
        }
        // Those that lag are needed in any case.
        let Some(watcher) = self.watchers.get(&key) else { return };
        if watcher.paused.is_empty() {
            return;
        }
        let told = watcher.merge.told();
        let needed = |part: &u32| held <= HELD_BYTES_MAX / 2 || watcher.merge.told_by(*part) <= told;
        let needed: Vec<u32> = watcher.paused.iter().copied().filter(needed).collect();
        if needed.is_empty() {
            return;
        }
        let look = self.routes.look();
        for part in needed {
            self.settle(&look, key, part, &Tried::default());
        }
    }

    fn pause(&mut self, key: WatchKey) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        for part in watcher.merge.ahead() {
            let Some(place) = watcher.parts.get_mut(&part) else { continue };
            let Some((line, inner)) = place.at.take() else { continue };
            watcher.paused.insert(part);
            if let Some(line) = self.lines.get_mut(&line) {
                line.owners.remove(&inner);
                line.stream.remove(inner);
            }
        }
    }

    /// Memory that is taken by events that wait for other parts, in bytes.
    #[cfg(test)]
    pub(in crate::routes) fn held_bytes(&self) -> usize {
        self.watchers.values().map(|watcher| watcher.merge.held_bytes()).sum()
    }
}
