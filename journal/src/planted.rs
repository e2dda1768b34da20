//! Bugs that are put in on purpose, to see that a check finds them.
//!
//!     feature `planted`    without it nothing here is ever there: the compiler takes every place out that asks
//!     `MAINSTEM_PLANTED`   with it, the name of the one that a program has from its start, such as `forget-dedup`
//!     `Bug::plant`         with it, the one that this process has from now on
//!
//! Each breaks one rule that the store rests on, at the place where the code keeps it.

/// A rule that is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Bug {
    /// A batch counts though another leader took it into its term.
    IgnoreTheFence = 1,
    /// A retry of a request that has happened happens again.
    ForgetDedup,
    /// A write is acknowledged before the disk has it.
    AcknowledgeBeforeSync,
    /// Whether a key that was read has changed is not looked at.
    OverlookKeys,
    /// Whether a range that was read has changed is not looked at.
    OverlookRanges,
    /// A new leader takes reads for fresh that are older than its own window.
    ForgetTheFloor,
    /// A lease ends after half of its time.
    ExpireEarly,
    /// A leader answers though it may have been deposed.
    AnswerUnconfirmed,
    /// The journal is trimmed beyond what snapshots hold.
    TrimTooFar,
    /// A lease that ends leaves the last of its keys behind.
    LeaveAKey,
    /// A linearizable read is answered from what this frontend has.
    ReadWithoutBarrier,
    /// A request that wants to change nothing is answered without looking whether that is still so.
    AnswerStaleTxn,
    /// A request whose verdict was lost is taken for one that never happened.
    GuessFate,
    /// A footprint names the newest revision of all partitions, and not each one's own.
    ReadAtTheNewest,
    /// A watcher that goes on elsewhere misses a revision.
    LoseAnEvent,
    /// A watcher that goes on elsewhere is told a revision again.
    DoubleAnEvent,
    /// A journal node votes on whatever disk it finds.
    VoteOnAnyDisk,
}

impl Bug {
    /// Every one.
    pub const ALL: [Bug; 17] = [
        Bug::IgnoreTheFence,
        Bug::ForgetDedup,
        Bug::AcknowledgeBeforeSync,
        Bug::OverlookKeys,
        Bug::OverlookRanges,
        Bug::ForgetTheFloor,
        Bug::ExpireEarly,
        Bug::AnswerUnconfirmed,
        Bug::TrimTooFar,
        Bug::LeaveAKey,
        Bug::ReadWithoutBarrier,
        Bug::AnswerStaleTxn,
        Bug::GuessFate,
        Bug::ReadAtTheNewest,
        Bug::LoseAnEvent,
        Bug::DoubleAnEvent,
        Bug::VoteOnAnyDisk,
    ];

    /// As it is written in `MAINSTEM_PLANTED`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Bug::IgnoreTheFence => "ignore-the-fence",
            Bug::ForgetDedup => "forget-dedup",
            Bug::AcknowledgeBeforeSync => "acknowledge-before-sync",
            Bug::OverlookKeys => "overlook-keys",
            Bug::OverlookRanges => "overlook-ranges",
            Bug::ForgetTheFloor => "forget-the-floor",
            Bug::ExpireEarly => "expire-early",
            Bug::AnswerUnconfirmed => "answer-unconfirmed",
            Bug::TrimTooFar => "trim-too-far",
            Bug::LeaveAKey => "leave-a-key",
            Bug::ReadWithoutBarrier => "read-without-barrier",
            Bug::AnswerStaleTxn => "answer-stale-txn",
            Bug::GuessFate => "guess-fate",
            Bug::ReadAtTheNewest => "read-at-the-newest",
            Bug::LoseAnEvent => "lose-an-event",
            Bug::DoubleAnEvent => "double-an-event",
            Bug::VoteOnAnyDisk => "vote-on-any-disk",
        }
    }

    /// Whether this process has it.
    #[cfg(not(feature = "planted"))]
    #[inline]
    #[must_use]
    pub const fn is_planted(self) -> bool {
        false
    }
}

#[cfg(feature = "planted")]
mod with {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

    use super::Bug;

    /// Which bug; 0 is none.
    fn planted() -> &'static AtomicU8 {
        static PLANTED: OnceLock<AtomicU8> = OnceLock::new();
        PLANTED.get_or_init(|| {
            let name = std::env::var("MAINSTEM_PLANTED").unwrap_or_default();
            let bug = Bug::ALL.into_iter().find(|bug| bug.name() == name);
            assert!(bug.is_some() || name.is_empty(), "MAINSTEM_PLANTED={name} names no bug");
            AtomicU8::new(bug.map_or(0, |bug| bug as u8))
        })
    }

    impl Bug {
        /// Whether this process has it.
        #[must_use]
        pub fn is_planted(self) -> bool {
            planted().load(Relaxed) == self as u8
        }

        /// Puts this one in, in place of any other. `None`: takes it out.
        pub fn plant(bug: Option<Bug>) {
            planted().store(bug.map_or(0, |bug| bug as u8), Relaxed);
        }
    }
}
