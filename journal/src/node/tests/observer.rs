//! What the tails of every node tell while it happens: what is told once is never another thing later (I4).
//!
//! An observer is a memstore without a store. It follows one node through its crashes, and begins again at the first
//! position that is kept where it was trimmed away under it.

use std::collections::BTreeMap;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::world::{NODES, World};
use crate::client::Journal;
use crate::error::Error;
use crate::lsn::Lsn;
use crate::origin::Origin;
use crate::record::Entry;
use crate::revision::Revision;

/// What an entry is: its term, and of each record who asked for it and its revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    term: u64,
    records: Vec<(Origin, Revision)>,
}

impl Told {
    fn of(entry: &Entry) -> Told {
        let records = entry.batch.iter().flat_map(|batch| batch.revisions());
        let records = records.map(|(revision, record)| (record.origin, revision)).collect();
        Told { term: entry.term, records }
    }

    /// At which revisions this attempt is in it: once, or not at all.
    pub(super) fn places(&self, origin: Origin) -> Vec<Revision> {
        let places = self.records.iter().filter(|(other, _)| *other == origin);
        places.map(|(_, revision)| *revision).collect()
    }
}

type Story = BTreeMap<Lsn, Told>;

/// One observer for each node.
pub(super) struct Observers {
    /// Where to stop, once that is known.
    upto: watch::Sender<Lsn>,
    running: Vec<JoinHandle<Story>>,
}

impl Observers {
    pub(super) fn start(world: &World) -> Observers {
        let upto = watch::Sender::new(Lsn(u64::MAX));
        let observe = |node| tokio::spawn(observe(world.handles(node), upto.subscribe()));
        let running = NODES.map(observe).into();
        Observers { upto, running }
    }

    /// Waits until each has heard everything up to `upto`, and answers the one story that they all tell. What was
    /// trimmed before anybody heard it is not in it.
    pub(super) async fn agree(self, upto: Lsn) -> Story {
        self.upto.send_replace(upto);
        let mut agreed = Story::new();
        for (observer, node) in self.running.into_iter().zip(NODES) {
            for (lsn, told) in observer.await.unwrap() {
                let before = agreed.entry(lsn).or_insert_with(|| told.clone());
                assert_eq!(*before, told, "node {node} tells another {lsn} than the nodes before it");
            }
        }
        agreed
    }
}

async fn observe(mut handles: watch::Receiver<Journal>, mut upto: watch::Receiver<Lsn>) -> Story {
    let (mut story, mut next) = (Story::new(), Lsn(1));
    loop {
        let mut tail = handles.borrow_and_update().tail(next);
        loop {
            let heard = tokio::select! {
                heard = tail.next() => heard,
                _ = upto.wait_for(|upto| *upto < next) => return story,
                // A machine that stops does not close anything.
                _ = handles.changed() => break,
            };
            match heard {
                Ok(entries) => {
                    story.extend(entries.iter().map(|entry| (entry.lsn, Told::of(entry))));
                    next = tail.position();
                }
                Err(Error::Trimmed { first }) => {
                    assert!(next < first, "{next} is trimmed, and {first} is kept");
                    next = first;
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}
