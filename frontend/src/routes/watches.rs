//! The watchers of one client, over all partitions, wherever these are and go.
//!
//!     Watch ──► parts, one a partition ──► a stream a memstore
//!       ▲                                     │ events up to "told"
//!       └──────────── Merge ◄─────────────────┘       ──► News, whole revisions
//!
//! A part whose memstore goes, or whose partition does, is looked for again and goes on behind what it was told, cut
//! anew where the keys are: nothing is lost, and nothing comes twice. Until somebody serves its keys it has no home.
//! A part whose events wait for other parts is read up to a bound of bytes (see `backpressure`).

mod backpressure;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use journal::{Bug, KeyRange, Lsn, Revision};
use memstore::{Event, Update, WatchSpec, WatchStream, WatcherKey};
use tokio::time::Instant;

use super::asking::RETRY_PAUSE;
use super::holders::{Choice, Held, Look, Tried, first_of};
use super::merge::Merge;
use super::{Routes, behind};

/// A wish to see changes.
#[derive(Clone, Debug)]
pub(crate) struct Watch {
    pub(crate) keys: KeyRange,
    /// The first revision to tell of.
    pub(crate) from: Revision,
    pub(crate) prev_kv: bool,
    pub(crate) puts: bool,
    pub(crate) deletes: bool,
}

/// Names a watcher. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct WatchKey(u64);

/// Something to tell a client.
#[derive(Debug)]
pub(crate) enum News {
    /// Whole revisions in order; with these the watcher was told of everything up to `upto`.
    Events { watcher: WatchKey, events: Vec<Arc<Event>>, upto: Revision },
    /// It was told of everything up to `upto`.
    Told { watcher: WatchKey, upto: Revision },
    /// What it wants next is compacted. The watcher is gone.
    Compacted { watcher: WatchKey, compacted: Revision },
    /// The store is shutting down.
    Closed,
}

struct Watcher {
    watch: Watch,
    merge: Merge,
    parts: BTreeMap<u32, Place>,
    /// Parts that are not read until others have caught up. They have no place meanwhile.
    paused: BTreeSet<u32>,
    asked: Option<Revision>,
}

/// Where a part's keys are watched. `None`: nowhere.
struct Place {
    keys: KeyRange,
    at: Option<(u64, WatcherKey)>,
}

/// The stream to one memstore.
struct Line {
    held: Arc<Held>,
    stream: WatchStream,
    owners: HashMap<WatcherKey, (WatchKey, u32)>,
}

/// Conditions under which places are searched for again: another view of the memstores, or a moment.
struct Search {
    look: Look,
    at: Instant,
}

pub(crate) struct Watches {
    routes: Routes,
    names: u64,
    watchers: HashMap<WatchKey, Watcher>,
    /// By names of their own.
    lines: BTreeMap<u64, Line>,
    /// Name of the line that was read last. The others are read before it is read again.
    last_line: u64,
    /// Parts without a place: at most all parts.
    homeless: Vec<(WatchKey, u32)>,
    /// Next search for places of those parts. `None` where it has yet to be set.
    search: Option<Search>,
    news: VecDeque<News>,
}

impl Routes {
    /// The watches of one client.
    pub(crate) fn watch(&self) -> Watches {
        let (watchers, lines) = (HashMap::new(), BTreeMap::new());
        let (homeless, news) = (Vec::new(), VecDeque::new());
        let (routes, names, last_line, search) = (self.clone(), 0, 0, None);
        Watches { routes, names, watchers, lines, last_line, homeless, search, news }
    }
}

impl Watches {
    /// Begins to watch. What cannot be watched is told by `next`.
    pub(crate) fn add(&mut self, watch: Watch) -> WatchKey {
        self.names += 1;
        let key = WatchKey(self.names);
        let merge = Merge::new(watch.from);
        let parts = BTreeMap::from([(0, Place { keys: watch.keys.clone(), at: None })]);
        self.watchers.insert(key, Watcher { watch, merge, parts, paused: BTreeSet::new(), asked: None });
        self.settle(&self.routes.look(), key, 0, &Tried::default());
        key
    }

    /// Ends a watcher. What it was not told is gone.
    pub(crate) fn remove(&mut self, key: WatchKey) {
        let Some(watcher) = self.watchers.remove(&key) else { return };
        for (line, inner) in watcher.parts.into_values().filter_map(|place| place.at) {
            if let Some(line) = self.lines.get_mut(&line) {
                line.owners.remove(&inner);
                line.stream.remove(inner);
            }
        }
        self.homeless.retain(|(homeless, _)| *homeless != key);
    }

    /// What happens next. Safe to give up and call again.
    pub(crate) async fn next(&mut self) -> News {
        loop {
            if let Some(news) = self.ready() {
                return news;
            }
            if self.homeless.is_empty() {
                self.search = None;
            } else if self.search.is_none() {
                self.search = Some(Search { look: self.routes.look(), at: Instant::now() + RETRY_PAUSE });
            }
            // The search goes first: it is due at a fixed moment, and updates may come without a pause.
            let update = tokio::select! {
                biased;
                () = due(&self.routes, self.search.as_ref()) => None,
                update = next_of(&mut self.lines, self.last_line) => Some(update),
            };
            match update {
                Some((line, update)) => {
                    self.last_line = line;
                    self.apply(line, update);
                }
                None => self.settle_homeless(),
            }
        }
    }

    /// What there is to tell without waiting.
    pub(crate) fn ready(&mut self) -> Option<News> {
        loop {
            let news = self.news.pop_front()?;
            let is_for_somebody = match &news {
                News::Events { watcher, .. } | News::Told { watcher, .. } => {
                    self.watchers.contains_key(watcher)
                }
                News::Compacted { .. } | News::Closed => true,
            };
            if is_for_somebody {
                return Some(news);
            }
        }
    }

    /// Lets `next` say when the watcher was told of everything up to `revision`: with events, or else `Told`.
    pub(crate) fn ask(&mut self, key: WatchKey, revision: Revision) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        watcher.asked = Some(revision);
        ask_parts(watcher, &mut self.lines, revision);
        self.tell(key);
    }

    /// Looks how far the parts of a watcher have come, which does not say so by itself where nothing happens. News of
    /// it are ready then. Answers whether no event waits for another part.
    pub(crate) fn look(&mut self, key: WatchKey) -> bool {
        let Some(watcher) = self.watchers.get_mut(&key) else { return false };
        for (part, place) in &watcher.parts {
            let line = place.at.and_then(|(line, inner)| Some((self.lines.get(&line)?, inner)));
            if let Some((line, inner)) = line {
                watcher.merge.push(*part, Vec::new(), line.stream.told(inner));
            }
        }
        let upto = watcher.merge.told();
        let events = watcher.merge.take();
        self.news.push_back(match events.is_empty() {
            true => News::Told { watcher: key, upto },
            false => News::Events { watcher: key, events, upto },
        });
        let is_whole = watcher.merge.held_upto().is_none();
        self.relieve(key);
        is_whole
    }

    fn apply(&mut self, line: u64, update: Update) {
        match update {
            Update::Events { watcher, events, upto } => self.hear(line, watcher, events, upto),
            Update::Told { watcher, upto } => self.hear(line, watcher, Vec::new(), upto),
            Update::Compacted { watcher, compacted } => {
                if let Some((key, _)) = self.owner(line, watcher) {
                    self.compacted(key, compacted);
                }
            }
            Update::Moved { watcher, upto } => {
                self.hear(line, watcher, Vec::new(), upto);
                let owner = self.lines.get_mut(&line).and_then(|line| line.owners.remove(&watcher));
                if let Some((key, part)) = owner {
                    self.settle(&self.routes.look(), key, part, &Tried::default());
                }
            }
            Update::Closed => self.closed(line),
        }
    }

    /// A memstore in this process closes with the store; what is watched at another goes on elsewhere.
    fn closed(&mut self, line: u64) {
        if self.lines.get(&line).is_some_and(|line| line.held.memstore.is_here()) {
            self.news.push_back(News::Closed);
            return;
        }
        let Some(Line { held, stream, owners }) = self.lines.remove(&line) else { return };
        let look = self.routes.look();
        // Its own end of the stream may know sooner than its reports.
        let mut tried = Tried::default();
        look.tried(&held, &mut tried);
        for (inner, (key, part)) in owners {
            if let Some(watcher) = self.watchers.get_mut(&key) {
                watcher.merge.push(part, Vec::new(), stream.told(inner));
            }
            self.settle(&look, key, part, &tried);
            self.tell(key);
        }
    }

    fn hear(&mut self, line: u64, inner: WatcherKey, events: Vec<Arc<Event>>, upto: Revision) {
        let Some((key, part)) = self.owner(line, inner) else { return };
        let watcher = self.watchers.get_mut(&key).expect("owners name watchers");
        watcher.merge.push(part, events, upto);
        self.tell(key);
    }

    /// What is whole now goes to the client; for the rest, the parts that lag are asked to say when they are as far.
    fn tell(&mut self, key: WatchKey) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let (events, upto) = (watcher.merge.take(), watcher.merge.told());
        let answers = watcher.asked.take_if(|asked| *asked <= upto).is_some();
        if !events.is_empty() {
            self.news.push_back(News::Events { watcher: key, events, upto });
        } else if answers {
            self.news.push_back(News::Told { watcher: key, upto });
        }
        if let Some(held) = watcher.merge.held_upto() {
            ask_parts(watcher, &mut self.lines, held.max(watcher.asked.unwrap_or_default()));
        }
        self.relieve(key);
    }

    fn settle_homeless(&mut self) {
        self.search = None;
        let look = self.routes.look();
        for (key, part) in std::mem::take(&mut self.homeless) {
            self.settle(&look, key, part, &Tried::default());
        }
        self.search = Some(Search { look, at: Instant::now() + RETRY_PAUSE });
    }

    /// Finds a place for a part, or for each of the parts that it is to be cut into.
    fn settle(&mut self, look: &Look, key: WatchKey, part: u32, tried: &Tried) {
        let Some(watcher) = self.watchers.get_mut(&key) else { return };
        let Some(Place { keys, .. }) = watcher.parts.remove(&part) else { return };
        watcher.paused.remove(&part);
        let pieces = pieces(look, keys, tried);
        let names = if pieces.len() == 1 { vec![part] } else { watcher.merge.cut(part, pieces.len()) };
        for (name, (keys, choice)) in names.into_iter().zip(pieces) {
            let told = watcher.merge.told_by(name);
            let next = next_to_tell(told, watcher.watch.from);
            let Watch { prev_kv, puts, deletes, .. } = watcher.watch;
            let at = match choice {
                Some(Choice { held, range, .. }) => {
                    let (number, line) = line(&mut self.lines, held);
                    let (partition, keys, from) = (range.id, keys.clone(), next);
                    match line.stream.add(WatchSpec { partition, keys, from, prev_kv, puts, deletes }) {
                        Ok(inner) => {
                            line.owners.insert(inner, (key, name));
                            Some((number, inner))
                        }
                        Err(memstore::Error::Compacted { compacted }) => {
                            return self.compacted(key, compacted);
                        }
                        Err(_) => None,
                    }
                }
                None => None,
            };
            if at.is_none() {
                self.homeless.push((key, name));
            }
            watcher.parts.insert(name, Place { keys, at });
        }
        let wanted = watcher.asked.max(watcher.merge.held_upto());
        if let Some(wanted) = wanted {
            ask_parts(watcher, &mut self.lines, wanted);
        }
    }

    fn compacted(&mut self, key: WatchKey, compacted: Revision) {
        self.remove(key);
        self.news.push_back(News::Compacted { watcher: key, compacted });
    }

    fn owner(&self, line: u64, inner: WatcherKey) -> Option<(WatchKey, u32)> {
        self.lines.get(&line)?.owners.get(&inner).copied()
    }
}

/// Where a part goes on that was told of everything up to `told`; it began with `from`.
fn next_to_tell(told: Revision, from: Revision) -> Revision {
    let next = told.next();
    match () {
        () if Bug::LoseAnEvent.is_planted() && from < next => next.next(),
        () if Bug::DoubleAnEvent.is_planted() && from < next => told,
        () => next,
    }
}

/// The keys by who serves them now.
fn pieces(look: &Look, keys: KeyRange, tried: &Tried) -> Vec<(KeyRange, Option<Choice>)> {
    let (mut pieces, mut rest) = (Vec::with_capacity(1), Some(keys));
    while let Some(keys) = rest {
        let choice = look.choose(keys.start(), Lsn::ZERO, tried);
        let piece = choice.as_ref().and_then(|choice| choice.range.clip(&keys));
        rest = match (&choice, &piece) {
            (Some(choice), Some(_)) => behind(&choice.range, &keys),
            _ => None,
        };
        pieces.push((piece.unwrap_or(keys), choice));
    }
    pieces
}

/// Asks those parts that were not told of everything up to `upto` to say when they were.
fn ask_parts(watcher: &Watcher, lines: &mut BTreeMap<u64, Line>, upto: Revision) {
    for (part, place) in &watcher.parts {
        if let Some((line, inner)) = place.at
            && watcher.merge.told_by(*part) < upto
            && let Some(line) = lines.get_mut(&line)
        {
            line.stream.ask(inner, upto);
        }
    }
}

/// The stream to a memstore.
fn line(lines: &mut BTreeMap<u64, Line>, held: Arc<Held>) -> (u64, &mut Line) {
    let known = lines.iter().find(|(_, line)| Arc::ptr_eq(&line.held, &held)).map(|(number, _)| *number);
    let number = known.unwrap_or_else(|| lines.last_key_value().map_or(0, |(last, _)| last + 1));
    let line = lines.entry(number).or_insert_with(|| {
        let stream = held.memstore.watch();
        Line { held, stream, owners: HashMap::new() }
    });
    (number, line)
}

/// Reads the lines in turn, so that one which always has something to tell keeps no other from being read.
async fn next_of(lines: &mut BTreeMap<u64, Line>, last: u64) -> (u64, Update) {
    if lines.len() == 1 {
        let (number, line) = lines.iter_mut().next().expect("there is one");
        return (*number, line.stream.next().await);
    }
    let before = lines.range(..=last).count();
    let nexts =
        lines.iter_mut().map(|(number, line)| Box::pin(async { (*number, line.stream.next().await) }));
    let mut nexts: Vec<_> = nexts.collect();
    nexts.rotate_left(before);
    first_of(nexts).await
}

/// Waits until places are to be searched for. Never, without a search.
async fn due(routes: &Routes, search: Option<&Search>) {
    let Some(Search { look, at }) = search else { return std::future::pending().await };
    tokio::select! {
        () = routes.changed(look) => {}
        () = tokio::time::sleep_until(*at) => {}
    }
}
