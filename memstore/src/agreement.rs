//! Whether the memstores that hold a partition hold the same, and what becomes of those that do not.
//!
//!     barrier ──► all are asked for the set hash there ──► judge ─┬─ same
//!                    ▲  compacted further: again               └─ differ ──► the fewer, or one of them, is thrown away
//!
//! Replicas do not talk to each other; whoever sees all of them compares, such as a frontend. Several may do so at
//! once: they come to the same verdict, and a replica that was thrown away has another name when it is there again.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use journal::Revision;
use tracing::{error, warn};

use crate::client::Memstore;
use crate::doubt::{Doubt, HashedAt, ReplicaHash};
use crate::error::Error;
use crate::frontier::Applied;
use crate::partition_id::PartitionRange;
use crate::remote::Health;

/// How often it is tried where compactions come in between.
const TRIES: usize = 3;

/// What a comparison has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Fewer than two could be asked at one revision.
    Unknown,
    Same,
    /// Those that were thrown away, by their ids. None of them where nobody else would serve.
    Differ {
        thrown: Vec<u64>,
    },
}

/// Compares what the `holders` of a partition hold, which have ids, at a moment that the journal has committed.
pub async fn compare(partition: &PartitionRange, holders: &[(u64, Memstore)], at: Applied) -> Agreement {
    let Some((at, answers)) = ask(partition, holders, at).await else { return Agreement::Unknown };
    let verdict = judge(&answers);
    let Verdict::Differ { throw, right } = verdict else {
        return if answers.len() < 2 { Agreement::Unknown } else { Agreement::Same };
    };
    let told: Vec<_> = answers.iter().map(|(id, said)| format!("{id:x}: {:016x}", said.hash)).collect();
    error!(
        partition = partition.id.0,
        position = at.lsn.0,
        revision = at.revision.0,
        compacted = at.compacted.0,
        set_hashes = told.join(", "),
        "the replicas of a partition do not hold the same: those that are wrong are thrown away and built again"
    );
    Agreement::Differ { thrown: tell(partition, holders, at, &answers, &throw, right).await }
}

type Answers = BTreeMap<u64, ReplicaHash>;

/// What they say, as one compaction leaves it.
async fn ask(
    partition: &PartitionRange,
    holders: &[(u64, Memstore)],
    at: Applied,
) -> Option<(HashedAt, Answers)> {
    let compacted = |(_, memstore): &(u64, Memstore)| {
        memstore.partition_stats(partition.id).map_or(Revision::ZERO, |stats| stats.compacted)
    };
    let mut compacted = holders.iter().map(compacted).max()?;
    for _ in 0..TRIES {
        if at.revision < compacted {
            return None;
        }
        let at = HashedAt { lsn: at.lsn, revision: at.revision, compacted };
        let asked = holders
            .iter()
            .map(|(id, memstore)| async move { (*id, memstore.set_hash(partition.id, at).await) });
        let (mut answers, mut further) = (Answers::new(), None);
        for (id, said) in join_all(asked).await {
            match said {
                Ok(Some(hash)) => drop(answers.insert(id, hash)),
                Err(Error::Compacted { compacted }) => further = further.max(Some(compacted)),
                // It is too old, or away: it is not compared.
                Ok(None) | Err(_) => {}
            }
        }
        match further {
            None => return Some((at, answers)),
            Some(further) => compacted = compacted.max(further),
        }
    }
    None
}

/// Throws them away, as long as somebody else serves the partition.
async fn tell(
    partition: &PartitionRange,
    holders: &[(u64, Memstore)],
    at: HashedAt,
    answers: &Answers,
    throw: &[u64],
    right: u64,
) -> Vec<u64> {
    let mut thrown = Vec::new();
    for (id, memstore) in holders.iter().filter(|(id, _)| throw.contains(id)) {
        let serves = |(other, memstore): &&(u64, Memstore)| {
            let serves = memstore.serves();
            !throw.contains(other) && serves.health == Health::Up && serves.partitions.contains(partition)
        };
        let said = answers[id];
        if !holders.iter().any(|holder| serves(&holder)) {
            error!(
                partition = partition.id.0,
                memstore = format!("{id:x}"),
                "a replica that may be wrong is kept, because nobody else serves its keys"
            );
            continue;
        }
        let doubt = Doubt { replica: said.replica, at, own: said.hash, others: right };
        match memstore.throw_away(partition.id, doubt).await {
            Ok(()) => thrown.push(*id),
            // Somebody else was faster.
            Err(Error::WrongPartition) => {}
            Err(error) => {
                warn!(partition = partition.id.0, memstore = format!("{id:x}"), %error, "a replica was not thrown away");
            }
        }
    }
    thrown
}

/// What follows from the answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// Nothing is known to differ.
    Same,
    /// These are to be thrown away, and somebody who is not among them holds what has the hash `right`.
    Differ { throw: Vec<u64>, right: u64 },
}

/// Where most hold the same, the others are wrong. Where nobody can know who is, it is one after the other: the one that
/// was thrown away least often, so that the next comparison is of one that was built anew.
fn judge(answers: &Answers) -> Verdict {
    let mut alike: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    for (id, said) in answers {
        alike.entry(said.hash).or_default().push(*id);
    }
    if alike.len() < 2 {
        return Verdict::Same;
    }
    let most = alike.iter().find(|(_, ids)| answers.len() < 2 * ids.len());
    if let Some((right, most)) = most {
        let throw = answers.keys().copied().filter(|id| !most.contains(id)).collect();
        return Verdict::Differ { throw, right: *right };
    }
    let first = answers.iter().min_by_key(|(id, said)| (said.thrown, **id));
    let (first, said) = first.expect("there are several");
    let other = answers.values().map(|other| other.hash).find(|hash| *hash != said.hash);
    Verdict::Differ { throw: vec![*first], right: other.expect("they differ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doubt::ReplicaName;

    /// By hash, and how often it was thrown away, of the memstores 1, 2 and so on.
    #[track_caller]
    fn check(answers: &[(u64, u64)], expected: Option<(&[u64], u64)>) {
        let said = |(hash, thrown): &(u64, u64)| ReplicaHash {
            hash: *hash,
            replica: ReplicaName::default(),
            thrown: *thrown,
        };
        let verdict = judge(&(1..).zip(answers.iter().map(said)).collect());
        let expected = match expected {
            Some((throw, right)) => Verdict::Differ { throw: throw.to_vec(), right },
            None => Verdict::Same,
        };
        assert_eq!(verdict, expected, "{answers:?}");
    }

    #[test]
    fn who_is_alone_differs_from_nobody() {
        check(&[], None);
        check(&[(7, 0)], None);
        check(&[(7, 0), (7, 3), (7, 0)], None);
    }

    #[test]
    fn of_three_and_more_the_fewer_are_wrong() {
        check(&[(7, 0), (8, 0), (7, 0)], Some((&[2], 7)));
        check(&[(8, 0), (7, 5), (7, 5)], Some((&[1], 7)));
        check(&[(7, 0), (8, 0), (7, 0), (9, 0), (7, 0)], Some((&[2, 4], 7)));
    }

    #[test]
    fn of_two_it_is_one_after_the_other() {
        check(&[(7, 0), (8, 0)], Some((&[1], 8)));
        check(&[(7, 1), (8, 0)], Some((&[2], 7)));
        check(&[(7, 1), (8, 1)], Some((&[1], 8)));
    }

    #[test]
    fn where_no_number_is_of_most_it_is_one_after_the_other() {
        check(&[(7, 0), (8, 0), (9, 0)], Some((&[1], 8)));
        check(&[(7, 1), (8, 1), (9, 0)], Some((&[3], 7)));
        check(&[(7, 1), (7, 0), (8, 0), (8, 0)], Some((&[2], 8)));
    }

    #[test]
    fn whatever_is_said_somebody_stays() {
        for code in 0..3_u64.pow(5) {
            let answers: Vec<_> = (0..5).map(|place| (code / 3_u64.pow(place) % 3, 0)).collect();
            for count in 0..=answers.len() {
                let said = |(hash, thrown): &(u64, u64)| ReplicaHash {
                    hash: *hash,
                    replica: ReplicaName::default(),
                    thrown: *thrown,
                };
                let answers: Answers = (1..).zip(answers[..count].iter().map(said)).collect();
                if let Verdict::Differ { throw, right } = judge(&answers) {
                    assert!(!throw.is_empty());
                    assert!(throw.iter().all(|id| answers[id].hash != right));
                    let stays = |(id, said): (&u64, &ReplicaHash)| !throw.contains(id) && said.hash == right;
                    assert!(answers.iter().any(stays), "{answers:?}");
                }
            }
        }
    }
}
