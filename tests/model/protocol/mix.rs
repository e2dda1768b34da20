//! What one run is made of: each seed draws its own mix of sizes, faults and requests, so that runs differ in kind.

use super::broken::Broken;
use super::record::{Lsn, Time};
use super::rng::Rng;

/// Of a sequencer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) slots: usize,
    pub(crate) ring_keys_max: usize,
    pub(crate) batches_max: usize,
    pub(crate) waiting_max: usize,
}

/// What may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Invoke,
    Deliver,
    Advance,
    Exchange,
    Flush,
    Apply,
    Propose,
    HandOver,
    Notice,
    Elect,
    Crash,
    Restart,
    CopyDisk,
    LoseDisk,
    Isolate,
    Rejoin,
    ExpireLeases,
    Tail,
    LoseMemstore,
    BuildMemstore,
    Snapshot,
    Trim,
    Route,
    Retire,
    Learn,
    RestartFrontend,
}

const STEPS: usize = 26;

/// What a client asks for next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    Put,
    Delete,
    Range,
    Txn,
    Serializable,
    Past,
    Grant,
    Revoke,
    KeepAlive,
    Compact,
    Auth,
}

const WISHES: usize = 11;

#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// How many operations clients begin, and how many at a time.
    pub(crate) operations: usize,
    pub(crate) clients: usize,
    pub(crate) frontends: usize,
    pub(crate) steps_max: Time,
    pub(crate) sizes: Sizes,
    pub(crate) records_per_batch: usize,
    pub(crate) dedup_distance: Lsn,
    pub(crate) retention: Lsn,
    pub(crate) ttl_max: Time,
    /// Percentages.
    pub(crate) lost: usize,
    pub(crate) duplicated: usize,
    pub(crate) late: usize,
    pub(crate) late_arrives: usize,
    pub(crate) timeout: usize,
    pub(crate) well_guessed: usize,
    pub(crate) guests: usize,
    pub(crate) guarded: usize,
    pub(crate) leased: usize,
    /// Grants of a name that was granted before.
    pub(crate) renamed: usize,
    pub(crate) blind: usize,
    /// After this long a client may give up.
    pub(crate) patience: Time,
    steps: [(Step, usize); STEPS],
    wishes: [(Wish, usize); WISHES],
}

impl Mix {
    pub(crate) fn draw(rng: &mut Rng, broken: Option<Broken>) -> Mix {
        let calm = rng.percent(15);
        let mut fault = |weights: &[usize]| if calm { 0 } else { rng.pick(weights) };
        let (elect, crash, isolate) = (fault(&[0, 1, 2, 4]), fault(&[0, 1, 1]), fault(&[0, 1, 2]));
        let (lose, restart) = (fault(&[0, 1, 2]), fault(&[0, 0, 1]));
        let (lost, duplicated, late) = (fault(&[0, 3, 10]), fault(&[0, 5, 15]), fault(&[0, 3, 10]));
        let lose_disk = fault(&[0, 0, 1]);
        let steps = [
            (Step::Invoke, 40),
            (Step::Deliver, rng.pick(&[150, 300, 500])),
            (Step::Advance, 300),
            (Step::Exchange, rng.pick(&[150, 300, 500])),
            (Step::Flush, rng.pick(&[100, 200, 400])),
            (Step::Apply, rng.pick(&[100, 200, 400])),
            (Step::Propose, rng.pick(&[100, 200])),
            (Step::HandOver, rng.pick(&[40, 150, 300])),
            (Step::Notice, rng.pick(&[2, 10, 100])),
            (Step::Elect, elect + 1),
            (Step::Crash, crash),
            (Step::Restart, 20),
            (Step::CopyDisk, lose_disk),
            (Step::LoseDisk, lose_disk),
            (Step::Isolate, isolate),
            (Step::Rejoin, 10),
            (Step::ExpireLeases, rng.pick(&[5, 20])),
            (Step::Tail, rng.pick(&[100, 300, 500])),
            (Step::LoseMemstore, lose),
            (Step::BuildMemstore, 60),
            (Step::Snapshot, rng.pick(&[0, 3, 8])),
            (Step::Trim, rng.pick(&[2, 8])),
            (Step::Route, rng.pick(&[0, 5, 12])),
            (Step::Retire, 5),
            (Step::Learn, rng.pick(&[50, 150])),
            (Step::RestartFrontend, restart),
        ];
        let wishes = [
            (Wish::Put, rng.pick(&[4, 12])),
            (Wish::Delete, rng.pick(&[1, 5])),
            (Wish::Range, rng.pick(&[2, 6])),
            (Wish::Txn, rng.pick(&[8, 20])),
            (Wish::Serializable, 2),
            (Wish::Past, rng.pick(&[0, 3])),
            (Wish::Grant, rng.pick(&[0, 1, 3])),
            (Wish::Revoke, rng.pick(&[0, 1])),
            (Wish::KeepAlive, rng.pick(&[1, 4])),
            (Wish::Compact, rng.pick(&[0, 1])),
            (Wish::Auth, rng.pick(&[0, 0, 1])),
        ];
        let mut mix = Mix {
            operations: rng.within(60, 160),
            clients: rng.within(3, 12),
            frontends: rng.within(1, 3),
            steps_max: 25_000,
            sizes: Sizes {
                slots: rng.within(2, 8),
                ring_keys_max: rng.within(3, 12),
                batches_max: rng.within(1, 4),
                waiting_max: rng.within(6, 20),
            },
            records_per_batch: rng.within(1, 4),
            dedup_distance: rng.pick(&[12, 25, 60]),
            retention: rng.within(0, 4),
            ttl_max: rng.pick(&[300, 1_000, 3_000]),
            lost,
            duplicated,
            late,
            late_arrives: rng.pick(&[2, 6]),
            timeout: rng.pick(&[1, 2, 5]),
            well_guessed: rng.pick(&[40, 80]),
            guarded: rng.pick(&[20, 60]),
            guests: rng.pick(&[10, 40]),
            leased: rng.pick(&[10, 50]),
            renamed: rng.pick(&[0, 30, 80]),
            blind: rng.pick(&[30, 70]),
            patience: rng.pick(&[2_000, 5_000, 15_000]),
            steps,
            wishes,
        };
        if let Some(broken) = broken {
            mix.aim(broken);
        }
        mix
    }

    /// What no rule keeps apart any more is met sooner in a mix that is made for it.
    fn aim(&mut self, broken: Broken) {
        match broken {
            Broken::ForgottenIsNever => {
                self.dedup_distance = 4;
                self.late = 10;
                self.timeout = 8;
            }
            Broken::RingForgets => self.sizes.ring_keys_max = 3,
            Broken::PermissionsUnchecked | Broken::PermissionsOfLater => {
                self.wish(Wish::Auth, 4);
                self.guests = 60;
            }
            Broken::FateUnconfirmed | Broken::FateBeforeOwnEntry => {
                (self.late, self.late_arrives, self.duplicated, self.timeout) = (15, 10, 15, 8);
                self.wish(Wish::Txn, 80);
                (self.guarded, self.guests, self.leased) = (95, 0, 0);
                let zombies = broken == Broken::FateUnconfirmed;
                self.timeout = if zombies { 8 } else { 60 };
                self.well_guessed = if zombies { 20 } else { 80 };
                self.step(Step::Elect, if zombies { 8 } else { 10 });
                self.step(Step::Isolate, if zombies { 4 } else { 0 });
                self.step(Step::LoseDisk, 0);
                self.step(Step::Rejoin, 2);
                self.step(Step::Apply, if zombies { 300 } else { 150 });
                self.step(Step::Tail, 500);
                if !zombies {
                    // A leader that has just been started has applied little, and does not know what is committed.
                    self.step(Step::Crash, 8);
                    self.step(Step::Notice, 100);
                }
            }
            Broken::RefusedUnconfirmed => {
                self.wish(Wish::Grant, 10);
                (self.leased, self.well_guessed) = (90, 20);
                self.step(Step::Isolate, 4);
                self.step(Step::Rejoin, 2);
            }
            Broken::KeptUnconfirmed => {
                self.wish(Wish::Grant, 4);
                self.wish(Wish::KeepAlive, 40);
                self.ttl_max = 300;
                (self.clients, self.operations) = (16, 200);
                self.step(Step::Isolate, 8);
                self.step(Step::Rejoin, 2);
            }
            Broken::RefusedUnfenced => {
                (self.late, self.late_arrives, self.duplicated, self.timeout) = (15, 4, 15, 8);
                self.wish(Wish::Grant, 12);
                self.wish(Wish::Revoke, 8);
                (self.leased, self.renamed, self.blind, self.guests) = (90, 90, 90, 0);
                self.ttl_max = 300;
            }
            Broken::NumberedUnheard => {
                self.dedup_distance = 4;
                (self.late, self.late_arrives, self.timeout, self.blind) = (10, 6, 8, 90);
            }
            Broken::CompactedTooFar => self.wish(Wish::Compact, 4),
            Broken::LeaseUnread
            | Broken::LeasesEndEarly
            | Broken::LeasesNotRestarted
            | Broken::FrozenRenewed
            | Broken::DeposedExpires
            | Broken::FrozenRefusedAtOnce => {
                self.wish(Wish::Grant, 5);
                self.wish(Wish::KeepAlive, 12);
                self.leased = 70;
            }
            Broken::LostDiskUnnoticed => {
                self.step(Step::CopyDisk, 2);
                self.step(Step::LoseDisk, 2);
                self.step(Step::Elect, 4);
            }
            Broken::TrimmedTooFar | Broken::MarkedBeforeStored => self.step(Step::Snapshot, 8),
            Broken::ServedWithoutHistory => self.step(Step::Route, 12),
            _ => {}
        }
    }

    fn wish(&mut self, wish: Wish, weight: usize) {
        self.wishes.iter_mut().filter(|(other, _)| *other == wish).for_each(|(_, old)| *old = weight);
    }

    fn step(&mut self, step: Step, weight: usize) {
        self.steps.iter_mut().filter(|(other, _)| *other == step).for_each(|(_, old)| *old = weight);
    }

    pub(crate) fn next_step(&self, rng: &mut Rng) -> Step {
        weighted(rng, &self.steps)
    }

    pub(crate) fn next_wish(&self, rng: &mut Rng) -> Wish {
        weighted(rng, &self.wishes)
    }

    /// From here on nothing is lost any more.
    pub(crate) fn heal(&mut self) {
        (self.lost, self.duplicated, self.late, self.late_arrives) = (0, 0, 0, 100);
        (self.patience, self.timeout, self.well_guessed) = (Time::MAX / 2, 20, 80);
    }
}

fn weighted<T: Copy>(rng: &mut Rng, weights: &[(T, usize)]) -> T {
    let sum: usize = weights.iter().map(|(_, weight)| weight).sum();
    let mut left = rng.below(sum);
    for (what, weight) in weights {
        if left < *weight {
            return *what;
        }
        left -= weight;
    }
    unreachable!("the number drawn is smaller than the sum")
}
