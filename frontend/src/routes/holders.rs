//! Which memstores there are, what each of them serves, and which one to ask.
//!
//!     list      who there is, as the journal tells it                changes as a whole
//!     look      what each of them says that it serves, at a moment   the table says who should, this says who does
//!     choose    answers, and stays ─► not far behind ─► near ─► the less busy of two
//!
//! A partition is looked for by the key that it holds and not by its name: memstores may cut the keys differently
//! while partitions are split, merged and moved.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use bytes::Bytes;
use journal::Lsn;
use memstore::{Health, Memstore, PartitionRange, Serves};

/// A memstore that may be asked.
#[derive(Clone)]
pub struct Holder {
    /// Of its kind: two of a list are two.
    pub id: u64,
    /// Where it stands. Empty: nobody knows.
    pub zone: String,
    pub memstore: Memstore,
}

/// One that lags by more entries is asked only where no other is further. Reports are some milliseconds old, so
/// that the furthest may only be the one that spoke last.
const LAG_MAX: u64 = 1_000;

/// A holder in the list.
pub(super) struct Held {
    pub(super) id: u64,
    pub(super) memstore: Memstore,
    zone: String,
    /// In the zone of this process.
    near: bool,
    /// Questions under way.
    asked: AtomicUsize,
}

impl Held {
    pub(super) fn new(Holder { id, zone, memstore }: Holder, own_zone: &str) -> Held {
        let near = !zone.is_empty() && zone == own_zone;
        Held { id, memstore, zone, near, asked: AtomicUsize::new(0) }
    }

    /// Whether nothing is new about it.
    pub(super) fn is(&self, holder: &Holder) -> bool {
        self.id == holder.id && self.zone == holder.zone && self.memstore.is(&holder.memstore)
    }

    #[cfg(test)]
    pub(super) fn questions(&self) -> usize {
        self.asked.load(Relaxed)
    }

    /// Counts a question for as long as the answer is held.
    pub(super) fn ask(&self) -> impl Drop + Send + '_ {
        self.asked.fetch_add(1, Relaxed);
        Asking(self)
    }
}

struct Asking<'a>(&'a Held);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.asked.fetch_sub(1, Relaxed);
    }
}

pub(super) type List = Arc<[Arc<Held>]>;

/// What there is at a moment.
pub(super) struct Look {
    pub(super) list: List,
    serves: Vec<Serves>,
}

/// A memstore that serves a key, and the partition by which it does.
#[derive(Clone)]
pub(super) struct Choice {
    pub(super) held: Arc<Held>,
    pub(super) range: PartitionRange,
    serves: Serves,
}

/// Who could not answer, when they served what they did.
#[derive(Default)]
pub(super) struct Tried(Vec<(u64, Serves)>);

impl Tried {
    pub(super) fn push(&mut self, choice: &Choice) {
        self.0.push((choice.held.id, choice.serves.clone()));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn holds(&self, held: &Held, serves: &Serves) -> bool {
        self.0.iter().any(|(id, tried)| *id == held.id && tried.is(serves))
    }
}

impl Look {
    pub(super) fn at(list: List) -> Look {
        let serves = list.iter().map(|held| held.memstore.serves()).collect();
        Look { list, serves }
    }

    /// One that serves `key`, and of several the one to ask for what is at `lsn`.
    pub(super) fn choose(&self, key: &Bytes, lsn: Lsn, tried: &Tried) -> Option<Choice> {
        let all = self.list.iter().zip(&self.serves);
        let up = all.filter(|(held, serves)| answers(held, serves));
        let holding = up.filter_map(|(held, serves)| {
            let range = holding(&serves.partitions, key)?;
            let untried = tried.is_empty() || !tried.holds(held, serves);
            untried.then(|| Choice { held: held.clone(), range: range.clone(), serves: serves.clone() })
        });
        let mut choices: Vec<Choice> = holding.collect();
        if choices.len() > 1 {
            let rated: Vec<Rated> = choices.iter().map(Choice::rated).collect();
            return Some(choices.swap_remove(pick(&rated, lsn, rand::random())));
        }
        choices.pop()
    }

    /// Takes down that one of them cannot answer.
    pub(super) fn tried(&self, held: &Held, tried: &mut Tried) {
        let all = self.list.iter().zip(&self.serves);
        let same = all.filter(|(one, _)| one.id == held.id);
        tried.0.extend(same.map(|(_, serves)| (held.id, serves.clone())));
    }

    /// Every key once, as far as somebody serves it.
    pub(super) fn cover(&self) -> Vec<Choice> {
        let (mut cover, mut next) = (Vec::new(), Some(Bytes::new()));
        while let Some(key) = next {
            next = match self.choose(&key, Lsn::ZERO, &Tried::default()) {
                Some(choice) => {
                    let end = choice.range.end.clone();
                    cover.push(choice);
                    end
                }
                None => self.start_behind(&key),
            };
        }
        cover
    }

    /// A key that somebody serves, if there is one such.
    pub(super) fn first_served(&self) -> Bytes {
        let begins = Bytes::new();
        let served = self.choose(&begins, Lsn::ZERO, &Tried::default()).is_some();
        let first = if served { None } else { self.start_behind(&begins) };
        first.unwrap_or(begins)
    }

    /// The holders of every key, in one memstore.
    pub(super) fn whole(&self) -> Vec<&Arc<Held>> {
        let all = self.list.iter().zip(&self.serves);
        let whole = all.filter(|(held, serves)| answers(held, serves) && is_whole(&serves.partitions));
        whole.map(|(held, _)| held).collect()
    }

    /// Waits until one of them serves something else, or answers otherwise.
    pub(super) async fn changed(&self) {
        let changes = self.list.iter().zip(&self.serves).map(|(held, serves)| {
            Box::pin(async move {
                held.memstore.other_than(serves).await;
            })
        });
        first_of(changes.collect()).await;
    }

    fn start_behind(&self, key: &Bytes) -> Option<Bytes> {
        let all = self.list.iter().zip(&self.serves);
        let up = all.filter(|(held, serves)| answers(held, serves));
        let starts = up.flat_map(|(_, serves)| serves.partitions.iter().map(|range| &range.start));
        starts.filter(|start| *start > key).min().cloned()
    }
}

impl Choice {
    fn rated(&self) -> Rated {
        Rated {
            health: self.serves.health,
            applied: self.held.memstore.applied(self.range.id).map_or(Lsn::ZERO, |applied| applied.lsn),
            near: self.held.near,
            asked: self.held.asked.load(Relaxed),
        }
    }
}

/// One in this process says itself that it is closed.
fn answers(held: &Held, serves: &Serves) -> bool {
    serves.health > Health::Down || held.memstore.is_here()
}

/// What tells candidates apart.
#[derive(Clone, Copy, Debug)]
struct Rated {
    health: Health,
    applied: Lsn,
    near: bool,
    asked: usize,
}

/// The place of the one to ask. `dice` is any number.
fn pick(rated: &[Rated], lsn: Lsn, dice: u64) -> usize {
    let furthest = rated.iter().map(|one| one.applied).max().unwrap_or_default();
    let near = Lsn(furthest.0.saturating_sub(LAG_MAX));
    let class = |one: &Rated| (one.health, near <= one.applied, one.near, lsn <= one.applied);
    let best = rated.iter().map(class).max();
    let best: Vec<usize> = (0..rated.len()).filter(|at| Some(class(&rated[*at])) == best).collect();
    let count = u64::try_from(best.len()).expect("a length fits 64 bits");
    let place = |dice: u64| best[usize::try_from(dice % count).expect("it is below a length")];
    let (one, other) = (place(dice), place(dice >> 32));
    if rated[other].asked < rated[one].asked { other } else { one }
}

/// The partition that holds `key`. They are in the order of their keys.
pub(super) fn holding<'a>(partitions: &'a [PartitionRange], key: &Bytes) -> Option<&'a PartitionRange> {
    let behind = partitions.partition_point(|range| range.start <= *key);
    partitions[..behind].last().filter(|range| range.contains(key))
}

fn is_whole(partitions: &[PartitionRange]) -> bool {
    let follows = |pair: &[PartitionRange]| pair[0].end.as_ref() == Some(&pair[1].start);
    partitions.first().is_some_and(|first| first.start.is_empty())
        && partitions.windows(2).all(follows)
        && partitions.last().is_some_and(|last| last.end.is_none())
}

/// Resolves with the first of them, those in front before the others. Never, where there are none.
pub(super) async fn first_of<F: Future + Unpin>(mut futures: Vec<F>) -> F::Output {
    std::future::poll_fn(move |context| {
        let mut polled = futures.iter_mut().map(|future| std::pin::Pin::new(future).poll(context));
        polled.find(std::task::Poll::is_ready).unwrap_or(std::task::Poll::Pending)
    })
    .await
}

/// Resolves once all of them have.
pub(super) async fn all_of<F: Future<Output = ()> + Unpin>(mut futures: Vec<F>) {
    std::future::poll_fn(move |context| {
        futures.retain_mut(|future| std::pin::Pin::new(future).poll(context).is_pending());
        if futures.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rated(is_up: bool, applied: u64, near: bool, asked: usize) -> Rated {
        let health = if is_up { Health::Up } else { Health::Quiet };
        Rated { health, applied: Lsn(applied), near, asked }
    }

    /// Who is ever picked.
    fn picked(rated: &[Rated], lsn: u64) -> Vec<usize> {
        let dice = (0..64_u64).flat_map(|one| (0..64_u64).map(move |other| one | other << 32));
        let mut picked: Vec<usize> = dice.map(|dice| pick(rated, Lsn(lsn), dice)).collect();
        picked.sort_unstable();
        picked.dedup();
        picked
    }

    #[test]
    fn those_that_are_alike_share_the_questions() {
        let all = [rated(true, 7_000, false, 1), rated(true, 7_010, false, 1), rated(true, 6_990, false, 1)];
        assert_eq!(picked(&all, 7_020), [0, 1, 2]);
        assert_eq!(picked(&all, 7_005), [1], "it need not wait");
    }

    #[test]
    fn who_lags_far_behind_is_asked_last() {
        let all = [rated(true, 7_000, true, 0), rated(true, 9_000, false, 5), rated(false, 9_000, true, 0)];
        assert_eq!(picked(&all, 0), [1]);
        assert_eq!(picked(&all[..1], 9_000), [0]);
        assert_eq!(picked(&[all[0], all[2]], 0), [0], "a quiet one may never answer");
    }

    #[test]
    fn who_is_about_to_go_is_asked_before_those_who_may_be_gone() {
        let leaving = Rated { health: Health::Leaving, ..rated(true, 9_000, true, 0) };
        let all = [leaving, rated(true, 7_000, false, 9), rated(false, 9_000, true, 0)];
        assert_eq!(picked(&all, 9_000), [1]);
        assert_eq!(picked(&[all[0], all[2]], 0), [0]);
    }

    #[test]
    fn the_own_zone_goes_first_and_the_busier_of_two_last() {
        let all = [rated(true, 7, true, 3), rated(true, 9, false, 0), rated(true, 8, true, 9)];
        assert_eq!(picked(&all, 7), [0, 2]);
        let dice = 1 << 32;
        assert_eq!(pick(&all, Lsn(7), dice), 0);
    }
}
