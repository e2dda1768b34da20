//! The model's world: a journal of several leaders, and the serial execution of what it holds.

use super::client::{digest, judge_at, key, number, write};
use super::*;

pub(super) struct Request {
    want: Want,
    attempts: Vec<Append>,
}

/// A leader and the batches it has on their way.
struct Leader {
    sequencer: Sequencer<Origin>,
    taken: Vec<Batch>,
}

pub(super) struct World {
    limits: Limits,
    state: State,
    /// The store at each revision from 1 on, by serial execution of the journal.
    pub(super) tables: Vec<Table>,
    leases: BTreeSet<i64>,
    compacted: u64,
    /// The version of the routes.
    routes: u64,
    /// What was applied, by request.
    journal: BTreeMap<u64, (Lsn, Revision, u64, u32)>,
    /// Verdicts that promise that an attempt never happens.
    never: BTreeSet<(u64, u32)>,
    requests: Vec<Request>,
    leader: Leader,
    /// With the state it last saw.
    deposed: Option<(Leader, State)>,
    now: Duration,
}

impl World {
    pub(super) fn new(slots: usize, ring: usize) -> World {
        let limits = Limits {
            slots,
            ring_keys_max: ring,
            batches_max: 3,
            batch_bytes_max: 90,
            // Most transactions take several steps.
            step_keys: 1,
            ..Limits::default()
        };
        let distances = dedup::Limits { lsn_distance: 1000, ..dedup::Limits::default() };
        let mut state = State::new(distances);
        state.skip(Lsn(1), 1);
        let sequencer = Sequencer::start(1, &state, limits, Duration::ZERO);
        World {
            limits,
            state,
            tables: vec![Table::new(), Table::new()],
            leases: BTreeSet::new(),
            compacted: 0,
            routes: 0,
            journal: BTreeMap::new(),
            never: BTreeSet::new(),
            requests: Vec::new(),
            leader: Leader { sequencer, taken: Vec::new() },
            deposed: None,
            now: Duration::ZERO,
        }
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Ask(want, lags) => {
                let append = self.request(want, lags);
                self.append(append);
            }
            Step::AskDeposed(want, lags) => {
                let append = self.request(want, lags);
                self.append_to_deposed(append);
            }
            Step::Retry(at, lags) => {
                if let Some(append) = self.again(at, lags) {
                    self.append(append);
                }
            }
            Step::RetryDeposed(at, lags) => {
                if let Some(append) = self.again(at, lags) {
                    self.append_to_deposed(append);
                }
            }
            Step::Repeat(at) => {
                if !self.requests.is_empty() {
                    let append = at.get(&self.requests).attempts.last().unwrap().clone();
                    self.never.remove(&(append.origin.seq, append.origin.attempt));
                    self.append(append);
                }
            }
            Step::Take => self.leader.taken.extend(self.leader.sequencer.take_batch(0)),
            Step::Commit => self.commit(),
            Step::Fate(at) => self.fate(at),
            Step::NewLeader { survivors } => self.new_leader(usize::from(survivors)),
            Step::Wait => self.now += Duration::from_millis(20),
        }
    }

    pub(super) fn routes(&self) -> u64 {
        self.routes
    }

    fn request(&mut self, want: Want, lags: [u8; 2]) -> Append {
        let seq = self.requests.len() as u64 + 1;
        let append = self.evaluate(&want, Origin { frontend: 5, seq, attempt: 1 }, lags);
        self.requests.push(Request { want, attempts: vec![append.clone()] });
        append
    }

    fn again(&mut self, at: prop::sample::Index, lags: [u8; 2]) -> Option<Append> {
        if self.requests.is_empty() {
            return None;
        }
        let at = at.index(self.requests.len());
        let request = &self.requests[at];
        let mut origin = request.attempts[0].origin;
        origin.attempt += u32::try_from(request.attempts.len()).unwrap();
        let append = self.evaluate(&request.want, origin, lags);
        self.requests[at].attempts.push(append.clone());
        Some(append)
    }

    fn append(&mut self, append: Append) {
        let (origin, reads) = (append.origin, append.reads.clone());
        let last = self.leader.sequencer.last;
        let mut answer = self.leader.sequencer.append(append, origin, &self.state, self.now);
        while answer == Answer::Unfinished {
            // Batches are proposed and land between two steps.
            self.step(if self.leader.taken.is_empty() { Step::Take } else { Step::Commit });
            answer = self.leader.sequencer.go_on(&self.state, self.now);
        }
        match answer {
            Answer::Unfinished => unreachable!("it was finished just before"),
            Answer::Later => {}
            Answer::Now(origin, verdict) => {
                if let Verdict::Conflict { wait } | Verdict::TooOld { wait } = verdict {
                    assert!(wait <= last, "waiting for a revision that nobody has: {wait}");
                    let progress = reads.iter().any(|read| judge_at(read) < wait);
                    assert!(progress || wait == last, "waiting for what was read already");
                }
                assert!(!matches!(verdict, Verdict::NotLeader { .. }), "it leads");
                self.told(origin, &verdict);
            }
            Answer::OnceConfirmed(origin, verdict) => {
                match verdict {
                    Verdict::LeaseNotFound(lease) => assert!(!self.leases.contains(&lease.0)),
                    Verdict::LeaseExists(lease) => assert!(self.leases.contains(&lease.0)),
                    Verdict::FutureRevision { .. } => panic!("only committed revisions are compacted"),
                    Verdict::RoutesChanged { version } => assert_eq!(version, self.routes),
                    _ => panic!("{verdict:?} needs no confirmation"),
                }
                self.told(origin, &verdict);
            }
        }
    }

    /// Whatever it says of what it may be wrong about is not sent: its leadership cannot be confirmed.
    fn append_to_deposed(&mut self, append: Append) {
        let Some((leader, state)) = &mut self.deposed else { return };
        let origin = append.origin;
        let mut answer = leader.sequencer.append(append, origin, state, self.now);
        while answer == Answer::Unfinished {
            answer = leader.sequencer.go_on(state, self.now);
        }
        if let Answer::Now(origin, verdict) = answer {
            self.told(origin, &verdict);
        }
    }

    /// A client learns a verdict.
    fn told(&mut self, origin: Origin, verdict: &Verdict) {
        match verdict {
            Verdict::Committed { lsn, revision, term, attempt } => {
                let told = (*lsn, *revision, *term, *attempt);
                assert_eq!(self.journal.get(&origin.seq), Some(&told), "told of what did not happen");
            }
            Verdict::Unknown => {}
            _ => {
                self.never.insert((origin.seq, origin.attempt));
            }
        }
    }

    fn commit(&mut self) {
        if self.leader.taken.is_empty() {
            return;
        }
        let batch = self.leader.taken.remove(0);
        let lsn = self.apply(self.state.term(), &batch);
        for (origin, verdict) in self.leader.sequencer.committed(lsn, self.now) {
            self.told(origin, &verdict);
        }
    }

    fn apply(&mut self, term: u64, batch: &Batch) -> Lsn {
        let lsn = self.state.applied().next();
        let before = self.state.clone();
        match self.state.apply(lsn, term, batch) {
            Applied::Void => {
                assert_ne!(batch.term, term);
                assert_eq!(self.state.revision(), before.revision());
            }
            Applied::Records(outcomes) => {
                assert_eq!(batch.term, term);
                for (outcome, record) in outcomes.iter().zip(&batch.records) {
                    self.execute(record);
                    assert_eq!(outcome.revision.0, self.last(), "revisions are dense");
                    let Origin { seq, attempt, .. } = record.origin;
                    let earlier = self.journal.insert(seq, (lsn, outcome.revision, term, attempt));
                    assert_eq!(earlier, None, "request {seq} happened twice");
                }
            }
        }
        lsn
    }

    /// Executes serially what the record is the effect of, and compares.
    fn execute(&mut self, record: &Record) {
        let Origin { seq, attempt, .. } = record.origin;
        assert!(!self.never.contains(&(seq, attempt)), "{seq}.{attempt} was told that it never happens");
        let request = &self.requests[usize::try_from(seq).unwrap() - 1];
        let sent = request.attempts.iter().find(|append| append.origin == record.origin).unwrap();
        let reads: Vec<Read> = sent.reads.clone();
        let before = self.tables.last().unwrap().clone();
        let seen = reads.iter().map(|read| digest(&before, std::slice::from_ref(read)));
        let value = seen.fold(1u64, |a, b| a.wrapping_mul(31).wrapping_add(b));
        match &request.want {
            Want::Transaction { puts, lease, delete, .. } => {
                assert!(
                    *delete || *lease == 0 || self.leases.contains(lease),
                    "a put on a lease that is gone"
                );
                let writes: Vec<Write> = puts.iter().map(|n| write(*n, value, *lease, *delete)).collect();
                assert_eq!(record.writes, writes, "{seq}.{attempt} is not what it would be here");
            }
            Want::Grant(lease) => assert!(self.leases.insert(*lease), "granted twice"),
            Want::Revoke(lease) => {
                assert!(self.leases.remove(lease), "revoked twice");
                let attached = before.iter().filter(|(_, (_, attached))| attached == lease);
                let keys: Vec<Bytes> = attached.map(|(n, _)| key(*n)).collect();
                let deleted: Vec<Bytes> = record.writes.iter().map(|write| write.key().clone()).collect();
                assert_eq!(deleted, keys, "a revocation deletes what is attached");
            }
            Want::Compact => {
                let Some(SysOp::Compact { revision }) = record.sysop else { panic!("a compaction") };
                assert!(self.compacted < revision.0 && revision.0 <= self.last());
                self.compacted = revision.0;
            }
            Want::Routes(_) => {
                let Some(SysOp::Routes(routes)) = &record.sysop else { panic!("a change of the routes") };
                assert_eq!(routes.version(), self.routes + 1, "of two who changed the same routes both won");
                self.routes = routes.version();
            }
        }
        self.write(before, record);
    }

    fn write(&mut self, mut table: Table, record: &Record) {
        for write in &record.writes {
            match write {
                Write::Put { key, value, lease } => {
                    let value = u64::from_le_bytes(value[..].try_into().unwrap());
                    table.insert(number(key), (value, lease.0));
                }
                Write::Delete { key } => drop(table.remove(&number(key))),
            }
        }
        if record.is_mutating() {
            self.tables.push(table);
        }
    }

    fn fate(&mut self, at: prop::sample::Index) {
        if self.requests.is_empty() {
            return;
        }
        let origin = at.get(&self.requests).attempts.last().unwrap().origin;
        let fate = self.leader.sequencer.fate(origin, &self.state);
        match (fate, self.journal.get(&origin.seq)) {
            (Fate::Committed { lsn, revision, term, attempt }, happened) => {
                assert_eq!(happened, Some(&(lsn, revision, term, attempt)));
            }
            (Fate::Pending, None) => {}
            (Fate::Never, None) => {
                let attempts = &self.requests[usize::try_from(origin.seq).unwrap() - 1].attempts;
                self.never.extend(attempts.iter().map(|append| (origin.seq, append.origin.attempt)));
            }
            (fate, happened) => panic!("{fate:?}, but {happened:?}"),
        }
    }

    pub(super) fn new_leader(&mut self, survivors: usize) {
        let old_state = self.state.clone();
        let old_term = self.state.term();
        let survivors = survivors.min(self.leader.taken.len());
        for batch in self.leader.taken.drain(..survivors).collect::<Vec<_>>() {
            self.apply(old_term, &batch);
        }
        self.state.skip(self.state.applied().next(), old_term + 1);
        let sequencer = Sequencer::start(old_term + 1, &self.state, self.limits, self.now);
        let old = std::mem::replace(&mut self.leader, Leader { sequencer, taken: Vec::new() });
        // Whoever was deposed before learns it now, its batches having been taken in by this term.
        if let Some((mut deposed, _)) = self.deposed.replace((old, old_state)) {
            deposed.taken.extend(deposed.sequencer.take_batch(0));
            for batch in &deposed.taken {
                self.apply(old_term + 1, batch);
            }
            for (origin, verdict) in deposed.sequencer.lost() {
                self.told(origin, &verdict);
            }
        }
    }
}
