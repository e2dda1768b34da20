//! What happened, in lines for people, and a hash of all of it: the same seed has the same hash.

use std::fmt::Display;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

/// The story of one world. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Story {
    shared: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    /// Of the lines and of what is only hashed. The hasher has no chance in it.
    #[expect(deprecated, reason = "its algorithm is written down, and it has no chance in it")]
    hash: std::hash::SipHasher,
    aloud: bool,
    now: Duration,
}

impl Story {
    /// Told while it happens.
    #[allow(dead_code, reason = "the suite runs worlds in silence")]
    pub(crate) fn aloud() -> Story {
        let story = Story::default();
        story.shared.lock().aloud = true;
        story
    }

    pub(crate) fn is_now(&self, now: Duration) {
        self.shared.lock().now = now;
    }

    pub(crate) fn tell(&self, what: impl Display) {
        let mut told = self.shared.lock();
        let line = format!("{:>9.3}  {what}", told.now.as_secs_f64());
        told.hash.write(line.as_bytes());
        if told.aloud {
            #[expect(clippy::print_stdout, reason = "that is what it is for")]
            {
                println!("{line}");
            }
        }
    }

    /// Part of what happened, and too much to be told.
    pub(crate) fn note(&self, bytes: &[u8]) {
        let mut told = self.shared.lock();
        let now = told.now;
        told.hash.write_u128(now.as_nanos());
        told.hash.write(bytes);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.shared.lock().hash.finish()
    }
}
