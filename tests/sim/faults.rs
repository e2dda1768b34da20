//! What goes wrong in a world, and when: each world draws its own mix, and from that, one thing after the other.

use std::time::Duration;

use bytes::Bytes;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    PowerLoss,
    PowerCut,
    TornWrite,
    KilledWrite,
    Kill,
    Stop,
    Pause,
    Cut,
    CutOneWay,
    Isolate,
    Reset,
    LateMessage,
    SlowNetwork,
    LossyNetwork,
    SlowDisk,
    HangingDisk,
    SyncError,
    FullDisk,
    BitRot,
    ClockRate,
    Routes,
    OtherDisk,
    Replace,
}

/// Kinds that every world draws from.
const KINDS: [Kind; 17] = [
    Kind::PowerLoss,
    Kind::TornWrite,
    Kind::Kill,
    Kind::Stop,
    Kind::Pause,
    Kind::Cut,
    Kind::CutOneWay,
    Kind::Isolate,
    Kind::Reset,
    Kind::SlowNetwork,
    Kind::LossyNetwork,
    Kind::SlowDisk,
    Kind::HangingDisk,
    Kind::SyncError,
    Kind::FullDisk,
    Kind::ClockRate,
    Kind::Routes,
];

/// Kinds that only some worlds have. A kind that takes several events stands here more than once, so that some of them
/// come to their end.
const ON_TOP: [Kind; 8] = [
    Kind::PowerCut,
    Kind::BitRot,
    Kind::KilledWrite,
    Kind::LateMessage,
    Kind::Replace,
    Kind::OtherDisk,
    Kind::OtherDisk,
    Kind::OtherDisk,
];

/// The kinds that a world draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Some of those that every world draws from, and this one.
    Usual(Option<Kind>),
    /// Some of all kinds.
    Any,
    /// All kinds at once.
    All,
}

/// The first hosts have the journals.
pub(crate) const JOURNALS: usize = 3;
/// Longest time until a promise that is on disk was told to the others, where the network carries it: six heartbeats.
const PROMISE_HEARD_AFTER: Duration = Duration::from_millis(300);

/// How much faster or slower than the world a clock may go.
pub(crate) const RATE_MAX: f64 = 1.05;

/// Something that goes wrong with some hosts, or goes right again.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Event {
    PowerLoss(usize),
    /// The machine stops in the middle of a write to come.
    TornWrite(usize, u64),
    /// The process is killed in the middle of a write to come.
    KilledWrite(usize, u64),
    Kill(usize),
    Stop(usize),
    Start(usize),
    Pause(usize),
    Resume(usize),
    /// From the one to the other, so that nothing comes through.
    Cut(usize, usize),
    Heal(usize, usize),
    Reset(usize, usize),
    /// The next message from the one to the other takes so much longer, and what follows it on its connection.
    LateMessage(usize, usize, Duration),
    /// So long, and so many in a thousand lost, from everybody to everybody.
    Network(Duration, u32),
    Disk(usize, Option<Duration>),
    SyncError(usize, u64),
    FullDisk(usize),
    RoomAgain(usize),
    /// Bits that the seed hits change on its disk.
    BitRot(usize, u64),
    /// Copies the disk of the first one. The second one runs on, and the third is down for so long.
    CopyDisk([usize; 3], Duration),
    /// Notes whether the journal has promised anything since its disk was copied.
    NotePromise(usize),
    /// It starts on the copy.
    OlderDisk(usize),
    BlankDisk(usize),
    SwapDisks(usize, usize),
    Rate(usize, f64),
    Routes(Change),
    /// A member gives way to a new one with a blank disk.
    Replace(usize),
}

/// What an operator does with the partitions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Split(Bytes),
    /// The partition of this place and the next.
    Merge(usize),
    /// Another holder for the partition of this place, or one fewer.
    AddReplica(usize, usize),
    RemoveReplica(usize, usize),
}

/// The kinds of one world and how often one of them happens.
pub(crate) struct Mix {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) every: Duration,
    hosts: usize,
}

impl Mix {
    /// Draws some kinds and not others, unless all are wanted: a fault that others hide shows then.
    pub(crate) fn draw(chance: &mut StdRng, hosts: usize, choice: Choice) -> Mix {
        let mut kinds = KINDS.to_vec();
        if let Choice::Any | Choice::All = choice {
            kinds.extend(ON_TOP);
        }
        kinds.shuffle(chance);
        let drawn = chance.random_range(2..=kinds.len());
        if choice != Choice::All {
            kinds.truncate(drawn);
        }
        if let Choice::Usual(Some(kind)) = choice {
            kinds.extend(ON_TOP.into_iter().filter(|on_top| *on_top == kind));
        }
        Mix { kinds, every: Duration::from_millis(chance.random_range(150..1_500)), hosts }
    }

    /// Until the next fault.
    pub(crate) fn pause(&self, chance: &mut StdRng) -> Duration {
        self.every.mul_f64(2.0 * chance.random::<f64>())
    }

    /// What happens now, and what ends it later.
    pub(crate) fn next(&self, chance: &mut StdRng) -> Vec<(Duration, Event)> {
        let kind = *self.kinds.choose(chance).expect("there are some");
        let (one, other) = (chance.random_range(0..self.hosts), chance.random_range(0..self.hosts));
        let lasts = Duration::from_millis(chance.random_range(50..3_000));
        let now = Duration::ZERO;
        match kind {
            Kind::PowerLoss => vec![(now, Event::PowerLoss(one)), (lasts, Event::Start(one))],
            // Each comes back when it does.
            Kind::PowerCut => (0..self.hosts)
                .flat_map(|host| {
                    let back = lasts.mul_f64(chance.random());
                    [(now, Event::PowerLoss(host)), (back, Event::Start(host))]
                })
                .collect(),
            Kind::TornWrite => {
                vec![(now, Event::TornWrite(one, chance.random_range(0..6))), (lasts, Event::Start(one))]
            }
            Kind::KilledWrite => {
                vec![(now, Event::KilledWrite(one, chance.random_range(0..6))), (lasts, Event::Start(one))]
            }
            Kind::Kill => vec![(now, Event::Kill(one)), (lasts, Event::Start(one))],
            Kind::Stop => vec![(now, Event::Stop(one))],
            Kind::Pause => vec![(now, Event::Pause(one)), (lasts, Event::Resume(one))],
            Kind::Cut if one != other => vec![
                (now, Event::Cut(one, other)),
                (now, Event::Cut(other, one)),
                (lasts, Event::Heal(one, other)),
                (lasts, Event::Heal(other, one)),
            ],
            Kind::CutOneWay if one != other => {
                vec![(now, Event::Cut(one, other)), (lasts, Event::Heal(one, other))]
            }
            Kind::Isolate => {
                let others = (0..self.hosts).filter(|other| *other != one);
                let both = others.flat_map(|other| [(one, other), (other, one)]);
                let events = |(from, to)| [(now, Event::Cut(from, to)), (lasts, Event::Heal(from, to))];
                both.flat_map(events).collect()
            }
            Kind::Reset if one != other => vec![(now, Event::Reset(one, other))],
            Kind::LateMessage if one != other => vec![(now, Event::LateMessage(one, other, lasts))],
            Kind::Cut | Kind::CutOneWay | Kind::Reset | Kind::LateMessage => Vec::new(),
            Kind::SlowNetwork => {
                let delay = Duration::from_millis(chance.random_range(5..150));
                vec![(now, Event::Network(delay, 0)), (lasts, Event::Network(Duration::from_micros(500), 0))]
            }
            Kind::LossyNetwork => {
                let lost = chance.random_range(5..200);
                let delay = Duration::from_micros(500);
                vec![(now, Event::Network(delay, lost)), (lasts, Event::Network(delay, 0))]
            }
            Kind::SlowDisk => {
                let takes = Duration::from_millis(chance.random_range(5..200));
                vec![
                    (now, Event::Disk(one, Some(takes))),
                    (lasts, Event::Disk(one, Some(Duration::from_micros(500)))),
                ]
            }
            Kind::HangingDisk => {
                vec![
                    (now, Event::Disk(one, None)),
                    (lasts, Event::Disk(one, Some(Duration::from_micros(500)))),
                ]
            }
            Kind::SyncError => vec![(now, Event::SyncError(one, chance.random_range(0..4)))],
            Kind::FullDisk => vec![(now, Event::FullDisk(one)), (lasts, Event::RoomAgain(one))],
            Kind::BitRot => vec![(now, Event::BitRot(one, chance.random()))],
            Kind::ClockRate => {
                let rate = chance.random_range(1.0 / RATE_MAX..RATE_MAX);
                vec![(now, Event::Rate(one, rate))]
            }
            Kind::OtherDisk => other_disk(chance, lasts),
            Kind::Routes => vec![(now, Event::Routes(change(chance)))],
            Kind::Replace => vec![(now, Event::Replace(chance.random_range(0..JOURNALS)))],
        }
    }
}

/// One of the three journals gets another disk. One was down meanwhile, and knows nothing of what was acknowledged.
fn other_disk(chance: &mut StdRng, lasts: Duration) -> Vec<(Duration, Event)> {
    let mut journals: [usize; JOURNALS] = std::array::from_fn(|host| host);
    journals.shuffle(chance);
    let [one, other, third] = journals;
    let (now, then) = (Duration::ZERO, lasts + Duration::from_secs(1));
    let later = then + Duration::from_millis(chance.random_range(100..2_000));
    match chance.random_range(0..5) {
        0 => vec![(now, Event::SwapDisks(one, other)), (now, Event::Start(one)), (now, Event::Start(other))],
        1 | 2 => vec![
            (now, Event::Kill(third)),
            (then, Event::BlankDisk(one)),
            (then, Event::Kill(other)),
            (then, Event::Start(third)),
            (then, Event::Start(one)),
            (later, Event::Start(other)),
        ],
        _ => vec![
            (now, Event::Kill(third)),
            (now, Event::CopyDisk(journals, then)),
            (then - PROMISE_HEARD_AFTER, Event::NotePromise(one)),
            (then, Event::OlderDisk(one)),
            (then, Event::Start(third)),
        ],
    }
}

fn change(chance: &mut StdRng) -> Change {
    let place = chance.random_range(0..4);
    match chance.random_range(0..8) {
        0..4 => {
            Change::Split(Bytes::from(vec![chance.random_range(b'a'..b'n'), chance.random_range(b'0'..b'4')]))
        }
        4..6 => Change::Merge(place),
        6 => Change::AddReplica(place, chance.random_range(0..3)),
        _ => Change::RemoveReplica(place, chance.random_range(0..3)),
    }
}
