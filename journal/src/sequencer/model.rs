//! The sequencer against serial execution: transactions of one table of keys and leases, in a world of lagging
//! readers, retries, deposed leaders that go on, and leaders that begin with half of what was proposed.
//!
//! A transaction writes a digest of everything it read. When its record is applied, the digest of the same
//! reads at the revision before must be that one: then it is as if it had been executed there (I3). The tables
//! of recent writes are so small that nearly every key shares its slot.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::key_range::KeyRange;
use crate::record::{Read, Write};
use crate::state::Applied;
use crate::state::dedup;
use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;

const KEYS: u8 = 6;
/// Keys below it belong to the one partition, the others to the other.
const SPLIT: u8 = 3;

/// The store at one revision: each key with its value and lease, and what was ever written to it.
type Table = BTreeMap<u8, (u64, i64)>;

#[derive(Clone, Debug)]
enum Want {
    /// Read these ranges, and write a digest of what is there to these keys.
    Transaction {
        reads: Vec<(u8, u8)>,
        puts: Vec<u8>,
        lease: i64,
        delete: bool,
    },
    Grant(i64),
    Revoke(i64),
    Compact,
}

#[derive(Clone, Debug)]
enum Step {
    /// A new request, read by replicas that lag behind so far.
    Ask(Want, [u8; 2]),
    /// The same request evaluated again, whatever became of it.
    Retry(prop::sample::Index, [u8; 2]),
    /// The same message once more.
    Repeat(prop::sample::Index),
    /// To the leader deposed last.
    AskDeposed(Want, [u8; 2]),
    RetryDeposed(prop::sample::Index, [u8; 2]),
    Take,
    Commit,
    Fate(prop::sample::Index),
    /// So many of the batches on their way survive, and what the deposed leader sends later is void.
    NewLeader {
        survivors: u8,
    },
    Wait,
}

fn any_want() -> impl Strategy<Value = Want> {
    let reads = vec((0..KEYS, 1u8..4), 0..3);
    let transaction = (reads, vec(0..KEYS, 1..3), 0i64..3, any::<bool>())
        .prop_map(|(reads, puts, lease, delete)| Want::Transaction { reads, puts, lease, delete });
    prop_oneof![
        12 => transaction,
        2 => (1i64..3).prop_map(Want::Grant),
        2 => (1i64..3).prop_map(Want::Revoke),
        1 => Just(Want::Compact),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    let lags = || [0u8..4, 0u8..4];
    let index = any::<prop::sample::Index>;
    prop_oneof![
        10 => (any_want(), lags()).prop_map(|(want, lags)| Step::Ask(want, lags)),
        3 => (index(), lags()).prop_map(|(at, lags)| Step::Retry(at, lags)),
        1 => index().prop_map(Step::Repeat),
        1 => (any_want(), lags()).prop_map(|(want, lags)| Step::AskDeposed(want, lags)),
        1 => (index(), lags()).prop_map(|(at, lags)| Step::RetryDeposed(at, lags)),
        6 => Just(Step::Take),
        4 => Just(Step::Commit),
        2 => index().prop_map(Step::Fate),
        1 => (0u8..4).prop_map(|survivors| Step::NewLeader { survivors }),
        1 => Just(Step::Wait),
    ]
}

struct Request {
    want: Want,
    attempts: Vec<Append>,
}

/// A leader and the batches it has on their way.
struct Leader {
    sequencer: Sequencer<Origin>,
    taken: Vec<Batch>,
}

struct World {
    limits: Limits,
    state: State,
    /// The store at each revision from 1 on, by serial execution of the journal.
    tables: Vec<Table>,
    leases: BTreeSet<i64>,
    compacted: u64,
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

fn key(n: u8) -> Bytes {
    Bytes::copy_from_slice(&[b'k', n])
}

fn number(key: &[u8]) -> u8 {
    key[1]
}

/// Of everything in the range: stands for any function of it.
fn digest(table: &Table, reads: &[Read]) -> u64 {
    let mut digest = 7u64;
    for read in reads {
        if let Read::Keys { keys, .. } = read {
            for (n, (value, lease)) in table.iter().filter(|(n, _)| keys.contains(&key(**n))) {
                for part in [u64::from(*n), *value, lease.unsigned_abs()] {
                    digest = (digest ^ part).wrapping_mul(0x100_0000_01b3).rotate_left(23);
                }
            }
        }
    }
    digest
}

impl World {
    fn new(slots: usize, ring: usize) -> World {
        let limits =
            Limits { slots, ring_keys_max: ring, batches_max: 3, batch_bytes_max: 90, ..Limits::default() };
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
            journal: BTreeMap::new(),
            never: BTreeSet::new(),
            requests: Vec::new(),
            leader: Leader { sequencer, taken: Vec::new() },
            deposed: None,
            now: Duration::ZERO,
        }
    }

    fn last(&self) -> u64 {
        self.tables.len() as u64 - 1
    }

    /// What a replica of the partition of `n` that lags so far has.
    fn at(&self, n: u8, lags: [u8; 2]) -> Revision {
        let lag = lags[usize::from(n >= SPLIT)];
        Revision(self.last().saturating_sub(u64::from(lag)).max(1))
    }

    fn table(&self, at: Revision) -> &Table {
        &self.tables[usize::try_from(at.0).unwrap()]
    }

    fn evaluate(&self, want: &Want, origin: Origin, lags: [u8; 2]) -> Append {
        let append =
            Append { origin, reads: vec![], writes: vec![], sysop: None, reserve: origin.attempt > 2 };
        match want {
            Want::Transaction { reads, puts, lease, delete } => {
                let reads: Vec<Read> = reads.iter().flat_map(|range| self.reads(*range, lags)).collect();
                // Each read sees its own partition, at what that has applied.
                let seen =
                    reads.iter().map(|read| digest(self.table(judge_at(read)), std::slice::from_ref(read)));
                let value = seen.fold(1u64, |a, b| a.wrapping_mul(31).wrapping_add(b));
                let writes = puts.iter().map(|n| write(*n, value, *lease, *delete)).collect();
                Append { reads, writes, ..append }
            }
            Want::Grant(lease) => Append {
                sysop: Some(SysOp::LeaseGrant { lease: LeaseId(*lease), ttl_seconds: 999 }),
                ..append
            },
            Want::Revoke(lease) => self.revocation(*lease, lags, append),
            Want::Compact => {
                let revision = Revision(self.last());
                Append { sysop: Some(SysOp::Compact { revision }), ..append }
            }
        }
    }

    /// One range, clipped to the partitions.
    fn reads(&self, (start, length): (u8, u8), lags: [u8; 2]) -> Vec<Read> {
        let end = start + length;
        if length == 1 {
            return vec![Read::Keys { keys: KeyRange::Single(key(start)), at: self.at(start, lags) }];
        }
        let parts = [(start, end.min(SPLIT)), (start.max(SPLIT), end)];
        let parts = parts.into_iter().filter(|(start, end)| start < end);
        let read = |(start, end)| Read::Keys {
            keys: KeyRange::Range { start: key(start), end: key(end) },
            at: self.at(start, lags),
        };
        parts.map(read).collect()
    }

    /// Deletes the keys that are attached at the revision that both partitions have.
    fn revocation(&self, lease: i64, lags: [u8; 2], append: Append) -> Append {
        let at = self.at(0, lags).min(self.at(KEYS, lags));
        let attached = self.table(at).iter().filter(|(_, (_, attached))| *attached == lease);
        let keys: Vec<Bytes> = attached.map(|(n, _)| key(*n)).collect();
        let single = |key: &Bytes| Read::Keys { keys: KeyRange::Single(key.clone()), at };
        let lease = LeaseId(lease);
        let reads = keys.iter().map(single).chain([Read::Lease { lease, at }]).collect();
        let writes = keys.into_iter().map(|key| Write::Delete { key }).collect();
        Append { reads, writes, sysop: Some(SysOp::LeaseRevoke { lease, expired_in: None }), ..append }
    }

    fn step(&mut self, step: Step) {
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
        match self.leader.sequencer.append(append, origin, &self.state, self.now) {
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
        if let Answer::Now(origin, verdict) = leader.sequencer.append(append, origin, state, self.now) {
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

    fn new_leader(&mut self, survivors: usize) {
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

fn judge_at(read: &Read) -> Revision {
    match read {
        Read::Keys { at, .. } | Read::Lease { at, .. } => *at,
    }
}

fn write(n: u8, value: u64, lease: i64, delete: bool) -> Write {
    if delete {
        return Write::Delete { key: key(n) };
    }
    let value = Bytes::copy_from_slice(&value.to_le_bytes());
    Write::Put { key: key(n), value, lease: LeaseId(lease) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, ..ProptestConfig::default() })]

    /// I1, I2, I3, I5, I7, no double commit, and verdicts that are true.
    #[test]
    fn whatever_happens_is_as_if_executed_one_after_the_other(
        steps in vec(any_step(), 1..120), slots in 1u32..4, ring in 2usize..12
    ) {
        let mut world = World::new(1 << slots, ring);
        for step in steps {
            world.step(step);
        }
        world.new_leader(usize::MAX);
        world.new_leader(0);
    }
}
