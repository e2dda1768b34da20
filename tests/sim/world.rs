//! A world from a seed: hosts, the network between them, people who use the store, and what goes wrong.
//!
//!     begin ──► safety: faults, by chance ──► healing: none, and everybody must make progress ──► the history is judged
//!
//! Time is virtual and goes in steps: what is due arrives, then each host runs until its own clock has come as far.

mod disks;
mod happens;
mod replacement;
mod run;
mod supervise;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use journal::machine::Faults;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::Notify;

use crate::check;
use crate::clients::{Habits, make_progress};
use crate::faults::{Choice, Event, Kind, Mix, RATE_MAX};
use crate::history::{End, History};
use crate::host::{Host, Life, Role, flags};
use crate::network::{Net, Way};
use crate::operator;
use crate::story::Story;
use crate::system;

use self::replacement::Replacement;
use self::run::INSIDE;
pub(crate) use self::run::{Figures, Outcome, run};

const STEP: Duration = Duration::from_millis(1);
/// How long everything may take to come up where nothing goes wrong.
const BEGIN_MAX: Duration = Duration::from_secs(30);
/// How long after the last fault the cluster may take until everybody can write and read.
const HEAL_MAX: Duration = Duration::from_secs(30);
const CALM: Way = Way {
    delay: Duration::from_micros(500),
    jitter: Duration::from_millis(1),
    lost_in_1000: 0,
    is_cut: false,
};

pub(crate) struct World {
    seed: u64,
    now: Duration,
    chance: StdRng,
    story: Story,
    net: Net,
    hosts: Vec<Host>,
    disks: disks::Disks,
    /// Where files are.
    directory: PathBuf,
    mix: Mix,
    habits: Habits,
    history: History,
    /// What is yet to happen.
    due: BTreeMap<(Duration, u64), Event>,
    events: u64,
    faults: usize,
    /// How often a process has refused a damaged disk, and was given a good one.
    repairs: usize,
    /// The lives whose people have come.
    peopled: Vec<(usize, u32)>,
    replacement: Option<Replacement>,
    /// Number of members that were replaced.
    new_members: usize,
    people_each: u32,
    wrong: Vec<String>,
}

impl World {
    fn new(seed: u64, directory: &Path, story: Story) -> World {
        let mut chance = StdRng::seed_from_u64(seed);
        let roles = layout(&mut chance);
        let names: Vec<String> = roles.iter().map(|(name, _)| name.clone()).collect();
        let net = Net::new(chance.random(), &names, CALM, story.clone());
        let is_journal = |(_, role): &&(String, Role)| matches!(role, Role::All | Role::Journal);
        let journals: Vec<String> = roles.iter().filter(is_journal).map(|(name, _)| name.clone()).collect();
        let split = ["", "c", "c,g", "c,g,k"][chance.random_range(0..4)];
        let host = |(number, (name, role)): (usize, &(String, Role))| {
            let mut flags = flags(name, *role, &journals, directory);
            flags.push(format!("--split-keys={split}"));
            // Otherwise members change only after five seconds without a fault.
            flags.push("--strict-reconfig-check=false".to_owned());
            Host::new(number, name, flags, directory.join(name), &net)
        };
        let hosts: Vec<Host> = roles.iter().enumerate().map(host).collect();
        let mix = Mix::draw(&mut chance, hosts.len(), choice(seed));
        let habits = habits(&mut chance);
        let people_each = chance.random_range(1..5);
        story.tell(format!("seed {seed}: {}; split at {split:?}", names.join(" ")));
        story.tell(format!("every {:?} one of {:?}", mix.every, mix.kinds));
        story.tell(format!("{people_each} clients at each frontend, {habits:?}"));
        World {
            seed,
            now: Duration::ZERO,
            chance,
            story,
            net,
            hosts,
            disks: disks::Disks::default(),
            directory: directory.to_owned(),
            mix,
            habits,
            history: History::default(),
            due: BTreeMap::new(),
            events: 0,
            faults: 0,
            repairs: 0,
            peopled: Vec::new(),
            replacement: None,
            new_members: 0,
            people_each,
            wrong: Vec::new(),
        }
    }

    fn live(mut self) -> Outcome {
        self.begin();
        if self.wrong.is_empty() {
            self.suffer();
            self.heal();
        }
        self.judge()
    }

    /// Everything is started, and serves.
    fn begin(&mut self) {
        self.hosts.iter_mut().for_each(Host::start);
        let until = self.now + BEGIN_MAX;
        while self.hosts.iter().any(|host| host.life() != Some(Life::Serves)) {
            self.step();
            if until < self.now {
                let lives: Vec<_> = self.hosts.iter().map(|host| (host.name.clone(), host.life())).collect();
                return self.wrong.push(format!("it does not begin within {BEGIN_MAX:?}: {lives:?}"));
            }
        }
        self.is_new_voter();
        self.story.tell("everything serves");
    }

    /// The half in which things go wrong.
    fn suffer(&mut self) {
        let until = self.now + Duration::from_millis(self.chance.random_range(4_000..12_000));
        let mut next = self.now + self.mix.pause(&mut self.chance);
        while self.now < until && self.wrong.is_empty() {
            if next.max(self.disks.calm_until) <= self.now {
                for (after, event) in self.mix.next(&mut self.chance) {
                    self.schedule(after, event);
                }
                self.faults += 1;
                next = self.now + self.mix.pause(&mut self.chance);
            }
            self.step();
        }
    }

    /// Nothing goes wrong any more: before long everybody can write and read, and watchers are told of it.
    fn heal(&mut self) {
        self.story.tell("nothing goes wrong any more");
        self.due.clear();
        self.own_disks();
        self.net.forget_late();
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                self.net.set_way(from, to, |way| *way = CALM);
            }
            let host = &mut self.hosts[from];
            host.is_paused = false;
            host.rate = 1.0;
            host.disk().slow(Some(Duration::from_micros(500)));
            host.disk().suffer(Faults::default());
            host.disk().mend();
        }
        let until = self.now + HEAL_MAX;
        let mut progress: BTreeMap<(usize, u32), (Arc<Notify>, bool)> = BTreeMap::new();
        loop {
            self.step();
            for number in 0..self.hosts.len() {
                let endpoint = (number, self.hosts[number].starts);
                let Some(client) = self.hosts[number].client().filter(|_| !progress.contains_key(&endpoint))
                else {
                    continue;
                };
                let done = Arc::new(Notify::new());
                let (history, dialer) = (self.history.clone(), self.hosts[number].dialer());
                let told = done.clone();
                self.hosts[number].spawn(async move {
                    make_progress(&client, endpoint, &history).await;
                    operator::compare(client, dialer, history).await;
                    told.notify_one();
                });
                progress.insert(endpoint, (done, false));
            }
            let frontends: Vec<_> = self.frontends().collect();
            let here = |number: &usize| (*number, self.hosts[*number].starts);
            for (done, is_done) in progress.values_mut() {
                *is_done |= poll(done);
            }
            let serves = self.hosts.iter().all(|host| host.life() == Some(Life::Serves));
            let all =
                frontends.iter().all(|number| progress.get(&here(number)).is_some_and(|(_, done)| *done));
            if serves && all && self.is_told() {
                return self.story.tell("everybody has made progress");
            }
            if until < self.now {
                let lives: Vec<_> = self.hosts.iter().map(|host| (host.name.clone(), host.life())).collect();
                let told = self.history.told_before();
                let wrong = format!(
                    "no progress within {HEAL_MAX:?} of the last fault: {lives:?}, {progress:?}, told before {told}"
                );
                return self.wrong.push(wrong);
            }
        }
    }

    fn frontends(&self) -> impl Iterator<Item = usize> {
        let serves = |host: &&Host| matches!(host.name.as_bytes()[0], b'f' | b'n');
        self.hosts.iter().filter(serves).map(|host| host.number)
    }

    /// Whether watchers were told of all that was acknowledged.
    fn is_told(&self) -> bool {
        self.history.look(|record| {
            let told = |request: &crate::history::Request| match &request.ended {
                Some((_, End::Answered { revision, .. })) => *revision < record.told_before,
                _ => true,
            };
            record.requests.iter().all(told)
        })
    }

    /// A moment passes.
    fn step(&mut self) {
        self.now += STEP;
        system::set_world_now(self.now);
        self.story.is_now(self.now);
        while let Some(entry) = self.due.first_entry().filter(|entry| entry.key().0 <= self.now) {
            let event = entry.remove();
            self.happens(&event);
        }
        self.net.advance(self.now);
        INSIDE.set(true);
        for host in &mut self.hosts {
            host.step(STEP);
        }
        INSIDE.set(false);
        self.supervise();
        self.go_on_replacing();
        self.wrong.extend(run::panics().into_iter().map(|panic| format!("a panic: {panic}")));
    }

    fn judge(mut self) -> Outcome {
        self.hosts.iter_mut().filter(|host| host.is_running()).for_each(Host::kill);
        let is_comparable = self.wrong.is_empty();
        if is_comparable {
            self.wrong.extend(self.history.look(|record| check::check(record, RATE_MAX)));
        } else {
            self.wrong.extend(self.history.look(|record| record.wrong.clone()));
        }
        let figures = self.figures();
        self.story.tell(format!("{figures:?}"));
        for wrong in &self.wrong {
            self.story.tell(format!("WRONG: {wrong}"));
        }
        Outcome { seed: self.seed, hash: self.story.hash(), wrong: self.wrong, figures }
    }

    fn figures(&self) -> Figures {
        let ended = |is: fn(&End) -> bool| {
            self.history.look(|record| {
                record
                    .requests
                    .iter()
                    .filter(|request| request.ended.as_ref().is_some_and(|(_, end)| is(end)))
                    .count()
            })
        };
        let all = self.history.look(|record| record.requests.len());
        let answered = ended(|end| matches!(end, End::Answered { .. }));
        let refused = ended(|end| matches!(end, End::Refused(_)));
        Figures {
            answered,
            refused,
            unknown: all - answered - refused,
            revisions: self.history.told_before() - 1,
            faults: self.faults,
            repairs: self.repairs,
            other_disks: self.disks.exchanged,
            new_members: self.new_members,
            starts: self.hosts.iter().map(|host| host.starts).sum(),
            virtual_ms: self.now.as_millis(),
        }
    }
}

/// The kinds of faults in the world of this seed.
fn choice(seed: u64) -> Choice {
    match seed % 20 {
        4 | 14 => Choice::Usual(Some(Kind::BitRot)),
        6 | 16 => Choice::Usual(Some(Kind::PowerCut)),
        11 | 15 => Choice::Usual(Some(Kind::OtherDisk)),
        8 | 13 | 17 => Choice::Any,
        0 | 9 | 12 | 19 => Choice::All,
        _ => Choice::Usual(None),
    }
}

fn layout(chance: &mut StdRng) -> Vec<(String, Role)> {
    let named = |letter: char, count: usize, role: Role| {
        (0..count).map(move |number| (format!("{letter}{number}"), role))
    };
    match chance.random_bool(0.3) {
        true => named('n', 3, Role::All).collect(),
        false => {
            let memstores = chance.random_range(2..4);
            let (journals, frontends) = (named('j', 3, Role::Journal), named('f', 2, Role::Frontend));
            journals.chain(named('m', memstores, Role::Memstore)).chain(frontends).collect()
        }
    }
}

fn habits(chance: &mut StdRng) -> Habits {
    let mut weight = |max: u32| if chance.random_bool(0.2) { 0 } else { chance.random_range(1..=max) };
    let (put, get, range, delete) = (weight(10) + 1, weight(8), weight(5), weight(3));
    let (txn, lease, compact) = (weight(6), weight(3), weight(1));
    let pause = Duration::from_millis(chance.random_range(2..60));
    Habits { put, get, range, delete, txn, lease, compact, pause }
}

/// Whether it was notified, without waiting.
fn poll(done: &Notify) -> bool {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    std::pin::pin!(done.notified()).poll(&mut context).is_ready()
}
