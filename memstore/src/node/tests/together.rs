//! However many partitions are missing at the same time: the journal is read once for all of them.

use proptest::collection::vec;
use tokio::sync::watch;

use super::*;

const CUTS: [&str; 5] = ["b", "c", "m", "n", "z"];

/// What is written, and which pieces of the keys are wanted then, all under new names.
#[derive(Clone, Debug)]
struct Round {
    batches: Vec<(Vec<Write>, Option<SysOp>)>,
    cuts: u8,
    held: u8,
    /// More is written while they are built.
    meanwhile: Vec<(Vec<Write>, Option<SysOp>)>,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let held = prop_oneof![2 => Just(0xFF), 1 => any::<u8>()];
    let round = (vec(records(), 1..12), any::<u8>(), held, vec(records(), 0..6));
    vec(round.prop_map(|(batches, cuts, held, meanwhile)| Round { batches, cuts, held, meanwhile }), 1..8)
}

impl Round {
    fn wanted(&self, number: u64) -> Vec<PartitionRange> {
        let bit = |bits: u8, place: usize| bits >> place & 1 == 1;
        let cuts: Vec<_> = (0..CUTS.len()).filter(|place| bit(self.cuts, *place)).collect();
        let cuts: Vec<_> = cuts.into_iter().map(|place| Bytes::from(CUTS[place])).collect();
        let pieces = PartitionRange::split(&cuts).into_iter().enumerate();
        let held = pieces.filter(|(place, _)| bit(self.held, *place));
        held.map(|(_, piece)| PartitionRange { id: PartitionId(number * 10 + piece.id.0), ..piece }).collect()
    }
}

/// Who holds all keys all the time, and so has a tail of its own.
struct All {
    node: Node,
}

impl All {
    /// What it has of the keys of a range.
    async fn of(&self, range: &PartitionRange, lsn: Lsn) -> Vec<Version> {
        let (_, mut versions) = state(&self.node, lsn).await;
        versions.retain(|version| range.contains(&version.kv.key));
        versions
    }
}

async fn run(directory: Option<&Path>, rounds: Vec<Round>) {
    let journal = FedJournal::new();
    let all = All { node: start(config(None, &[], NEVER), &journal).expect("it starts") };
    let wanted = watch::Sender::new(Arc::from([]));
    let due = SnapshotDue { bytes: u64::MAX, records: 5 };
    let told = Wanted::Told(wanted.subscribe());
    let node = start(Config { wanted: told, ..config(directory, &[], due) }, &journal).expect("it starts");
    let memstore = node.handle();
    // Of who has all, and of who follows.
    let (mut expected, mut follows) = (1, false);
    for (round, number) in rounds.into_iter().zip(1..) {
        let ranges = round.wanted(number);
        for records in round.batches {
            journal.append(vec![records]);
        }
        wanted.send_replace(ranges.clone().into());
        for records in round.meanwhile {
            journal.append(vec![records]);
            journal.rest_on_refused(vec![put("refused", 1)]);
            tokio::task::yield_now().await;
        }
        let mut served = memstore.partitions();
        while served[..] != ranges[..] {
            served = memstore.other_partitions(&served).await;
        }
        // Only who follows has it.
        journal.void();
        state(&all.node, journal.last()).await;
        for replica in node.replicas().iter() {
            replica.frontier.wait(journal.last()).await.expect("it is open");
            let expected = all.of(replica.partition.range(), journal.last()).await;
            assert_eq!(all_versions(replica), expected);
        }
        if !ranges.is_empty() {
            expected += 1 + usize::from(!follows);
            follows = true;
        }
        assert_eq!(journal.tails(), expected, "{} were missing", ranges.len());
    }
    node.close().await.expect("it closes");
    all.node.close().await.expect("it closes");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(60) })]

    #[test]
    fn what_is_missing_together_is_fed_from_one_tail(rounds in rounds()) {
        block_on(run(None, rounds));
    }

    #[test]
    fn also_what_comes_from_snapshots_of_several_positions(rounds in rounds()) {
        let directory = tempfile::tempdir().expect("the disk is fine");
        block_on(run(Some(directory.path()), rounds));
    }
}
