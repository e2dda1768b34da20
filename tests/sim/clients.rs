//! The people of a simulated world: clients that ask by chance, and watchers of everything.
//!
//! They are tasks of a frontend's process, and die with it.

use std::time::Duration;

use bytes::Bytes;
use frontend::answer::Answered;
use frontend::operation::{Compact, Compare, DeleteRange, Op, Put, Range, Relation, Subject, Txn};
use frontend::{Client, Error, KeyRange, LeaseId, Revision};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::history::{Answer, Asked, End, History, Seen};

/// Keys there are.
const KEYS: u64 = 16;
/// The leases' time. The least that the store grants is longer than an election.
const TTL_SECONDS: i64 = 2;
const RETRY_PAUSE: Duration = Duration::from_millis(20);

/// What clients do how often, and how fast. A world draws its own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Habits {
    pub(crate) put: u32,
    pub(crate) get: u32,
    pub(crate) range: u32,
    pub(crate) delete: u32,
    pub(crate) txn: u32,
    pub(crate) lease: u32,
    pub(crate) compact: u32,
    pub(crate) pause: Duration,
}

/// One client.
pub(crate) struct Person {
    pub(crate) client: Client,
    pub(crate) endpoint: (usize, u32),
    pub(crate) history: History,
    pub(crate) habits: Habits,
    pub(crate) seed: u64,
}

impl Person {
    /// Asks one thing after the other, for as long as its endpoint lives.
    pub(crate) async fn run(self) {
        let mut chance = StdRng::seed_from_u64(self.seed);
        loop {
            tokio::time::sleep(self.habits.pause.mul_f64(2.0 * chance.random::<f64>())).await;
            let asked = self.thinks_of(&mut chance);
            let id = self.history.call(self.endpoint, asked.clone());
            let end = match ask(&self.client, asked).await {
                Ok((answer, revision)) => End::Answered { answer, revision: revision.0 },
                Err(error) => End::of(error),
            };
            self.history.end(id, end);
        }
    }

    fn thinks_of(&self, chance: &mut StdRng) -> Asked {
        let Habits { put, get, range, delete, txn, lease, compact, .. } = self.habits;
        let weights = [put, get, range, delete, txn, lease, compact];
        let mut left = chance.random_range(0..weights.iter().sum::<u32>());
        let which = weights.iter().position(|weight| match left.checked_sub(*weight) {
            Some(less) => {
                left = less;
                false
            }
            None => true,
        });
        match which.expect("one of them") {
            0 => Asked::Put(self.put(chance)),
            1 => Asked::Range(self.range(chance, true)),
            2 => Asked::Range(self.range(chance, false)),
            3 => {
                let keys = if chance.random_bool(0.8) { single(chance) } else { several(chance) };
                Asked::Delete(DeleteRange { keys, prev_kv: chance.random() })
            }
            4 => Asked::Txn(self.txn(chance)),
            5 => self.lease(chance),
            _ => {
                let known = self.history.told_before() - 1;
                Asked::Compact(known.saturating_sub(chance.random_range(0..30)).max(1))
            }
        }
    }

    /// No two values are alike, so that an event names its request.
    fn put(&self, chance: &mut StdRng) -> Put {
        let (key, value) = (key(chance), chance.random::<u64>());
        let lease = self.known_lease(chance).filter(|_| chance.random_bool(0.2)).unwrap_or(LeaseId::NONE);
        let put = Put::new(key, format!("{value:016x}"));
        Put { lease, prev_kv: chance.random_bool(0.3), ..put }
    }

    fn range(&self, chance: &mut StdRng, of_one: bool) -> Range {
        let keys = if of_one { single(chance) } else { several(chance) };
        let known = self.history.told_before() - 1;
        let revision = match chance.random_bool(0.15) {
            true => known.saturating_sub(chance.random_range(0..20)),
            false => 0,
        };
        let limit = if chance.random_bool(0.2) { 2 } else { 0 };
        let serializable = chance.random_bool(0.2);
        Range { revision: revision.cast_signed(), limit, serializable, ..Range::all(keys) }
    }

    /// Compares one key, and writes it and another or reads.
    fn txn(&self, chance: &mut StdRng) -> Txn {
        let (one, other) = (key(chance), key(chance));
        let known = self.history.look(|record| {
            let of = |event: &Seen| (event.kv.key == one).then_some(event.kv.mod_revision);
            record.changes.values().rev().take(40).find_map(|changed| changed.events.iter().find_map(of))
        });
        let subject = match known.filter(|_| chance.random_bool(0.7)) {
            Some(revision) => Subject::Mod(revision.0.cast_signed()),
            None => Subject::Version(chance.random_range(0..2)),
        };
        let relation = if chance.random_bool(0.8) { Relation::Equal } else { Relation::Greater };
        let compares = vec![Compare { keys: KeyRange::Single(one.clone()), subject, relation }];
        let put = |key: &Bytes, chance: &mut StdRng| Op::Put(Put { key: key.clone(), ..self.put(chance) });
        let read = |key: &Bytes| Op::Range(Range::all(KeyRange::Single(key.clone())));
        let mut success = vec![read(&other), put(&one, chance)];
        if one != other {
            success.push(match chance.random_bool(0.7) {
                true => put(&other, chance),
                false => {
                    Op::DeleteRange(DeleteRange { keys: KeyRange::Single(other.clone()), prev_kv: true })
                }
            });
        }
        Txn { compares, success, failure: vec![read(&one), read(&other)] }
    }

    fn lease(&self, chance: &mut StdRng) -> Asked {
        match (self.known_lease(chance), chance.random_range(0..10)) {
            (Some(lease), 0..7) => Asked::KeepAlive(lease),
            (Some(lease), 7) => Asked::Revoke(lease),
            _ => Asked::Grant,
        }
    }

    /// One of the newest.
    fn known_lease(&self, chance: &mut StdRng) -> Option<LeaseId> {
        let back = chance.random_range(0..4);
        self.history.look(|record| record.leases.iter().rev().nth(back).copied())
    }
}

fn key(chance: &mut StdRng) -> Bytes {
    History::key_of(chance.random_range(0..KEYS))
}

fn single(chance: &mut StdRng) -> KeyRange {
    KeyRange::Single(key(chance))
}

fn several(chance: &mut StdRng) -> KeyRange {
    let (one, other) = (key(chance), key(chance));
    match chance.random_bool(0.4) {
        true => KeyRange::all(),
        false => {
            KeyRange::from_wire(one.clone().min(other.clone()), [&one.max(other)[..], b"~"].concat().into())
        }
    }
}

async fn ask(client: &Client, asked: Asked) -> Result<(Answer, Revision), Error> {
    let store = client.store();
    fn told<T>(answered: Answered<T>, answer: impl FnOnce(T) -> Answer) -> (Answer, Revision) {
        (answer(answered.answer), answered.at.revision)
    }
    Ok(match asked {
        Asked::Put(put) => told(store.put(put).await?, Answer::Put),
        Asked::Delete(delete) => told(store.delete_range(&delete).await?, Answer::Delete),
        Asked::Range(range) => told(store.range(&range).await?, Answer::Range),
        Asked::Txn(txn) => told(store.txn(&txn).await?, Answer::Txn),
        Asked::Compact(revision) => {
            let compact = Compact { revision: revision.cast_signed(), physical: false };
            told(store.compact(compact).await?, |()| Answer::Done)
        }
        Asked::Grant => {
            let granted = client.grant(TTL_SECONDS).await?;
            let answer = Answer::Granted { lease: granted.lease, ttl_seconds: granted.ttl_seconds };
            (answer, Revision::ZERO)
        }
        Asked::KeepAlive(lease) => (Answer::Kept(client.keep_alive(lease).await?), Revision::ZERO),
        Asked::Revoke(lease) => told(store.revoke(lease).await?, |()| Answer::Done),
    })
}

/// Watches everything from the first revision that nobody has told of, again and again, for as long as its endpoint lives.
pub(crate) async fn watch_everything(client: Client, endpoint: (usize, u32), history: History) {
    loop {
        let mut next = history.told_before();
        let mut watch = client.watch(KeyRange::all(), Some(Revision(next)));
        loop {
            let events = match watch.next().await {
                Ok(events) => events,
                Err(Error::Compacted) if next < history.told_before() => break,
                Err(Error::Stopped) => return,
                Err(error) => {
                    history.is_wrong(format!("the watch at {endpoint:?} from {next} ended: {error}"));
                    return;
                }
            };
            let mut revisions: Vec<(u64, Vec<Seen>)> = Vec::new();
            for event in events {
                let seen = Seen { kind: event.kind, kv: event.kv.clone(), prev: event.prev.clone() };
                match revisions.last_mut().filter(|(revision, _)| *revision == event.revision.0) {
                    Some((_, events)) => events.push(seen),
                    None => revisions.push((event.revision.0, vec![seen])),
                }
            }
            for (revision, events) in revisions {
                if revision != next {
                    let wrong =
                        format!("the watch at {endpoint:?} is told of {revision} where {next} is next");
                    history.is_wrong(wrong);
                }
                next = revision + 1;
                history.told(revision, events);
            }
        }
    }
}

/// Waits until this endpoint can write and read, and answers what it then reads of everything.
pub(crate) async fn make_progress(client: &Client, endpoint: (usize, u32), history: &History) {
    for tries_to_write in [true, false] {
        loop {
            let value =
                format!("{}-{}-{}", endpoint.0, endpoint.1, history.look(|record| record.requests.len()));
            let asked = match tries_to_write {
                true => Asked::Put(Put::new("z-progress", value)),
                false => Asked::Range(Range::all(KeyRange::all())),
            };
            let id = history.call(endpoint, asked.clone());
            let ended = ask(client, asked).await;
            let is_done = ended.is_ok();
            history.end(
                id,
                match ended {
                    Ok((answer, revision)) => End::Answered { answer, revision: revision.0 },
                    Err(error) => End::of(error),
                },
            );
            if is_done {
                break;
            }
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }
}
