//! The log as its callers see it: on a real directory, and on a disk in memory.

use std::path::Path;
use std::sync::mpsc;

use expect_test::{Expect, expect};

use super::*;
use crate::clock::ManualClock;
use crate::log_device::sim::Faults;
use crate::segment;

const CLUSTER: u64 = 0xc0;

const SETTINGS: Settings =
    Settings { segment_bytes: 32 << 10, recent_bytes_max: 400, make_ahead: false, queue_items_max: 4_096 };

fn clock() -> Arc<dyn Clock> {
    Arc::new(ManualClock::default())
}

fn start(device: Arc<dyn LogDevice>) -> Result<Log, Error> {
    Log::start(device, CLUSTER, SETTINGS, clock(), None)
}

fn start_in(path: &Path, settings: Settings) -> Result<Log, Error> {
    let directory = DataDirectory::open(path, CLUSTER)?;
    let device = Arc::new(Directory::new(path.to_owned(), Sync::Always));
    Log::start(device, CLUSTER, settings, clock(), Some(directory))
}

fn entry(index: u64, payload: Bytes) -> LogEntry {
    LogEntry { index, term: 1, kind: 3, payload }
}

fn small(index: u64) -> LogEntry {
    entry(index, Bytes::from(format!("entry {index}")))
}

/// Asks, and waits until it is durable.
fn wait(ask: impl FnOnce(Done)) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel();
    ask(Box::new(move |result| sender.send(result).expect("the test waits")));
    receiver.recv().expect("every step is called back")
}

fn append(log: &Log, entries: impl IntoIterator<Item = LogEntry>) {
    wait(|done| log.append(entries.into_iter().collect(), done)).expect("the disk is well");
}

fn indexes(log: &Log) -> Vec<u64> {
    let (mut all, mut from) = (Vec::new(), log.purged().map_or(0, |(index, _)| index + 1));
    loop {
        let part = log.read(from, u64::MAX).expect("readable");
        let Some(last) = part.last() else { return all };
        from = last.index + 1;
        all.extend(part.iter().map(|entry| entry.index));
    }
}

#[test]
fn restarts_take_no_room() {
    let sim = Sim::default();
    let settings = Settings { make_ahead: true, segment_bytes: 1 << 20, ..SETTINGS };
    for _ in 0..5 {
        let log = Log::start(Arc::new(sim.clone()), CLUSTER, settings, clock(), None).unwrap();
        log.close();
        assert_eq!(sim.list().unwrap().len(), 2, "a segment, and the next one made ahead");
        assert_eq!(log.disk_bytes(), 2 * settings.segment_bytes);
    }
}

#[test]
fn everything_is_there_again_after_a_restart() {
    let sim = Sim::default();
    let log = start(Arc::new(sim.clone())).unwrap();
    append(&log, (0..20).map(small));
    wait(|done| log.save_vote("vote".into(), done)).unwrap();
    wait(|done| log.truncate(15, done)).unwrap();
    append(&log, [LogEntry { term: 2, ..small(15) }]);
    log.save_committed(9);
    wait(|done| log.purge(4, 1, done)).unwrap();
    log.close();

    let log = start(Arc::new(sim)).unwrap();
    assert_eq!(indexes(&log), (5..16).collect::<Vec<_>>());
    assert_eq!(log.read(14, 16).unwrap(), [small(14), LogEntry { term: 2, ..small(15) }]);
    assert_eq!(log.vote(), Some("vote".into()));
    assert_eq!(log.purged(), Some((4, 1)));
    assert_eq!(log.last(), Some((15, 2)));
    let last_ever = Some((2, 15));
    assert_eq!(*log.recovered(), Recovered { committed: Some(9), last_ever, warning: None });
}

#[test]
fn an_entry_is_readable_before_it_is_durable() {
    let (log, mut worker) = Log::parts(Arc::new(Sim::default()), CLUSTER, SETTINGS, clock()).unwrap();
    log.append(vec![small(0), small(1)], Box::new(|_| ()));
    assert_eq!(log.read(0, 9).unwrap(), [small(0), small(1)]);
    // Replaced before it was written: the old form reaches the disk first, and is never read.
    let new = entry(1, "new".into());
    log.truncate(1, Box::new(|_| ()));
    log.append(vec![new.clone()], Box::new(|_| ()));
    worker.turn(worker.shared.take().unwrap());
    assert_eq!(log.read(0, 9).unwrap(), [small(0), new]);
}

#[test]
fn a_replaced_entry_is_not_read_in_its_old_form() {
    let (log, mut worker) = Log::parts(Arc::new(Sim::default()), CLUSTER, SETTINGS, clock()).unwrap();
    let old: Vec<_> = (0..9).map(|index| entry(index, vec![1; 300].into())).collect();
    let new: Vec<_> = (0..9).map(|index| entry(index, vec![2; 300].into())).collect();
    log.append(old, Box::new(|_| ()));
    let batch = worker.shared.take().unwrap();
    // While the old form is on its way to the disk.
    log.truncate(0, Box::new(|_| ()));
    log.append(new.clone(), Box::new(|_| ()));
    worker.turn(batch);
    assert_eq!(log.read(0, 9).unwrap(), new);
    worker.turn(worker.shared.take().unwrap());
    assert_eq!(log.read(0, 9).unwrap(), new);
}

#[test]
fn callbacks_come_in_order() {
    let log = start(Arc::new(Sim::default())).unwrap();
    let (sender, receiver) = mpsc::channel();
    for step in 0..200_u64 {
        let sender = sender.clone();
        let done: Done = Box::new(move |result| sender.send((step, result.is_ok())).unwrap());
        match step % 3 {
            0 => log.save_vote(Bytes::from(step.to_string()), done),
            1 => log.append(vec![small(step / 3)], done),
            _ => log.truncate(u64::MAX, done),
        }
    }
    drop(sender);
    let told: Vec<_> = receiver.into_iter().take(200).collect();
    assert_eq!(told, (0..200).map(|step| (step, true)).collect::<Vec<_>>());
}

#[test]
fn old_entries_are_read_from_sealed_segments() {
    let scratch = tempfile::tempdir().unwrap();
    let log = start_in(scratch.path(), Settings { make_ahead: true, ..SETTINGS }).unwrap();
    let entries: Vec<_> = (0..100_u8).map(|index| entry(index.into(), vec![index; 3_000].into())).collect();
    for entry in &entries {
        append(&log, [entry.clone()]);
    }
    let old = log.read(0, 100).unwrap();
    assert_eq!(old, entries);
    let before = log.disk_bytes();
    wait(|done| log.purge(97, 1, done)).unwrap();
    // The segments are gone, and what was read of them still is what it was.
    for index in 100..140 {
        append(&log, [entry(index, vec![0xff; 3_000].into())]);
    }
    assert_eq!(old, entries);
    assert!(log.disk_bytes() < before);
    assert_eq!(log.read(3, 9).unwrap_err().kind(), io::ErrorKind::NotFound);
    log.close();
    let log = start_in(scratch.path(), SETTINGS).unwrap();
    assert_eq!(indexes(&log), (98..140).collect::<Vec<_>>());
}

/// A read through a memory map would be a signal here, which ends the process without a word.
#[test]
fn a_sealed_segment_that_was_cut_short_is_named_with_the_offset() {
    let scratch = tempfile::tempdir().unwrap();
    let log = start_in(scratch.path(), SETTINGS).unwrap();
    for index in 0..100 {
        append(&log, [entry(index, vec![7; 3_000].into())]);
    }
    let path = scratch.path().join(segment::name(2));
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(8_192).unwrap();
    let errors: Vec<_> = (0..100).filter_map(|index| log.read(index, index + 1).err()).collect();
    assert!(!errors.is_empty());
    for error in errors {
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let named = format!("{} is damaged at offset ", path.display());
        let text = error.to_string();
        assert!(text.contains(&named) && text.ends_with("the file is shorter than it was"), "{text}");
    }
}

#[test]
fn disk_stays_bounded_under_endless_writes_with_purges() {
    let sim = Sim::default();
    let log = start(Arc::new(sim.clone())).unwrap();
    for index in 0..500 {
        append(&log, [entry(index, vec![7; 2_000].into())]);
        if index % 10 == 9 {
            wait(|done| log.purge(index - 5, 1, done)).unwrap();
        }
        assert!(log.disk_bytes() <= 8 * SETTINGS.segment_bytes, "{}", log.disk_bytes());
    }
    let names = sim.list().unwrap();
    assert!(names.len() <= 8, "{names:?}");
}

#[test]
fn an_entry_larger_than_a_segment_has_one_of_its_own() {
    let sim = Sim::default();
    let large = entry(1, vec![9; 200_000].into());
    let log = start(Arc::new(sim.clone())).unwrap();
    append(&log, [small(0), large.clone(), small(2)]);
    log.close();
    let log = start(Arc::new(sim)).unwrap();
    assert_eq!(log.read(0, 3).unwrap(), [small(0), large, small(2)]);
    wait(|done| log.purge(2, 1, done)).unwrap();
    append(&log, [small(3)]);
    assert_eq!(indexes(&log), [3]);
}

#[test]
fn a_purge_beyond_the_last_entry_moves_the_log_there() {
    let sim = Sim::default();
    let log = start(Arc::new(sim.clone())).unwrap();
    append(&log, (0..3).map(small));
    wait(|done| log.purge(100, 4, done)).unwrap();
    assert_eq!((log.last(), log.purged()), (None, Some((100, 4))));
    append(&log, [small(101)]);
    log.close();
    let log = start(Arc::new(sim)).unwrap();
    assert_eq!((log.last(), log.purged()), (Some((101, 1)), Some((100, 4))));
}

#[test]
fn after_a_failed_sync_nothing_succeeds_any_more() {
    let sim = Sim::default();
    let operations = {
        let log = start(Arc::new(sim.clone())).unwrap();
        append(&log, [small(0)]);
        sim.operations()
    };
    let sim = Sim::with(Faults { fail_at: Some(operations), ..Faults::default() });
    let log = start(Arc::new(sim.clone())).unwrap();
    append(&log, [small(0)]);
    let failed = wait(|done| log.append(vec![small(1)], done)).unwrap_err();
    assert!(failed.to_string().contains("cannot write to memory/00000000000000000001.segment"), "{failed}");
    // The disk would take it now.
    let later = wait(|done| log.save_vote("vote".into(), done)).unwrap_err();
    assert_eq!(later.to_string(), failed.to_string());
    assert_eq!(log.vote(), None);
    let before = sim.operations();
    log.close();
    assert_eq!(sim.operations(), before, "it was not written to again");
    let late = wait(|done| log.save_vote("vote".into(), done)).unwrap_err();
    assert_eq!(late.to_string(), "the journal is closed");
}

#[test]
fn a_full_disk_stops_the_log_and_loses_nothing() {
    let sim = Sim::with(Faults { bytes_max: Some(3 * SETTINGS.segment_bytes), ..Faults::default() });
    let log = start(Arc::new(sim.clone())).unwrap();
    let mut acknowledged = 0;
    let error = loop {
        let next = vec![entry(acknowledged, vec![1; 3_000].into())];
        match wait(|done| log.append(next, done)) {
            Ok(()) => acknowledged += 1,
            Err(error) => break error,
        }
    };
    expect!["cannot make room for a journal segment of 32768 bytes in memory: No space left on device (os error 28); make room there, or move the data to a larger disk"]
    .assert_eq(&error.to_string());
    log.close();
    let log = start(Arc::new(sim.restart(Faults::default()))).unwrap();
    assert_eq!(indexes(&log), (0..acknowledged).collect::<Vec<_>>());
}

#[test]
fn a_directory_is_free_again_when_the_log_is_closed() {
    let scratch = tempfile::tempdir().unwrap();
    let log = start_in(scratch.path(), SETTINGS).unwrap();
    assert!(start_in(scratch.path(), SETTINGS).is_err());
    log.close();
    start_in(scratch.path(), SETTINGS).unwrap().close();
}

/// Five acknowledged appends; then something happens to the file of the newest segment.
fn check(change: impl FnOnce(&mut Vec<u8>), expected: Expect) {
    let sim = Sim::default();
    let log = start(Arc::new(sim.clone())).unwrap();
    for index in 0..5 {
        append(&log, [small(index)]);
    }
    // Stopped, not closed: the last append is followed by nothing.
    let sim = sim.restart(Faults::default());
    let mut bytes = sim.bytes(&segment::name(1));
    change(&mut bytes);
    sim.replace(&segment::name(1), bytes);
    let found = match start(Arc::new(sim)) {
        Ok(log) => format!("{:?} {:?}", indexes(&log), log.recovered().warning),
        Err(error) => error.to_string(),
    };
    expected.assert_eq(&found);
}

#[test]
fn nothing_changed() {
    check(|_| (), expect!["[0, 1, 2, 3, 4] None"]);
}

#[test]
fn a_torn_last_block_is_cut() {
    // Page 0 is the header, 1 the first state, 2 that of the first opening.
    check(
        |bytes| bytes[7 * 4_096 + 90] ^= 1,
        expect![[
            r#"[0, 1, 2, 3] Some("memory/00000000000000000001.segment ends at offset 28672 with a block 7 that was not completely written: it is cut off")"#
        ]],
    );
}

#[test]
fn a_bad_block_before_a_good_one_is_refused() {
    check(
        |bytes| bytes[6 * 4_096 + 90] ^= 1,
        expect![
            "memory/00000000000000000001.segment is damaged at offset 24576: block 6 is bad, and the block at 28672 goes on behind it"
        ],
    );
}

#[test]
fn a_missing_block_before_a_good_one_is_refused() {
    check(
        |bytes| bytes[6 * 4_096..7 * 4_096].fill(0),
        expect![
            "memory/00000000000000000001.segment is damaged at offset 24576: block 6 is bad, and the block at 28672 goes on behind it"
        ],
    );
}

#[test]
fn a_bad_header_is_refused() {
    check(
        |bytes| bytes[20] ^= 1,
        expect![
            "memory/00000000000000000001.segment is damaged at offset 0: its header does not match its crc"
        ],
    );
}

#[test]
fn a_segment_that_does_not_begin_with_its_state_is_refused() {
    check(
        |bytes| bytes[4_096..].fill(0),
        expect![
            "memory/00000000000000000001.segment is damaged at offset 4096: it does not begin with its state"
        ],
    );
}

#[test]
fn a_shortened_file_is_refused() {
    check(
        |bytes| bytes.truncate(5 * 4_096),
        expect![
            "memory/00000000000000000001.segment is damaged at offset 0: the file has 20480 bytes and its header says 32768"
        ],
    );
}

#[test]
fn an_emptied_file_is_refused() {
    check(
        Vec::clear,
        expect![
            "memory/00000000000000000001.segment is damaged at offset 0: it does not begin as a segment does"
        ],
    );
}

#[test]
fn a_segment_of_another_cluster_is_refused() {
    let sim = Sim::default();
    start(Arc::new(sim.clone())).unwrap().close();
    let Err(error) = Log::start(Arc::new(sim), 0xc1, SETTINGS, clock(), None) else { panic!("accepted") };
    expect!["memory/00000000000000000001.segment belongs to cluster 00000000000000c0, and this is cluster 00000000000000c1: move that file away, or put back the one that belongs here"]
        .assert_eq(&error.to_string());
}

#[test]
fn a_missing_segment_is_refused() {
    let sim = Sim::default();
    let log = start(Arc::new(sim.clone())).unwrap();
    append(&log, (0..30).map(|index| entry(index, vec![1; 4_000].into())));
    log.close();
    sim.remove(&segment::name(2)).unwrap();
    let Err(error) = start(Arc::new(sim)) else { panic!("accepted") };
    expect!["segments before memory/00000000000000000003.segment are missing, and they hold entries that are needed: nothing up to the last block, at offset 12288 of memory/00000000000000000003.segment, purges them"]
        .assert_eq(&error.to_string());
}
