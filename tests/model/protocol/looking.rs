//! How frontends look at partitions: each key at one replica of its partition, as of what that has applied, or as
//! of one revision everywhere once all have applied a position.

use super::broken::Broken;
use super::evaluate::View;
use super::memstore::Memstore;
use super::record::{KEYS, KeyRange, Lsn, Revision};
use super::request::Request;
use super::world::World;

pub(crate) enum Look {
    Found(Box<View>),
    NotYet,
    /// The revision is not kept any more.
    Compacted,
}

impl Look {
    /// For requests that look at nothing.
    pub(crate) fn nothing() -> View {
        View { kvs: [None; KEYS], at: [0; KEYS] }
    }
}

impl World {
    /// What a request may touch, at `moment` or, where there is none, whatever is applied.
    pub(crate) fn look(
        &mut self,
        frontend: usize,
        request: &Request,
        moment: Option<(Lsn, Revision)>,
    ) -> Look {
        let mut wanted = [false; KEYS];
        request.touches(|keys| wanted[keys.from..keys.to].fill(true));
        let mut view = Look::nothing();
        let routes = std::rc::Rc::clone(&self.frontends[frontend].routes);
        let (lsn, _) = moment.unwrap_or((0, 0));
        for partition in &routes.partitions {
            if !partition.keys.keys().any(|key| wanted[key]) {
                continue;
            }
            let Some(memstore) =
                self.replica(&partition.replicas, partition.keys, |memstore| lsn <= memstore.lsn)
            else {
                return Look::NotYet;
            };
            let memstore = &self.memstores[memstore];
            let at = moment.map_or(memstore.revision, |(_, revision)| revision);
            if at < memstore.compacted {
                return Look::Compacted;
            }
            for key in partition.keys.keys().filter(|key| wanted[*key]) {
                view.kvs[key] = memstore.read(key, at);
                view.at[key] = at;
            }
        }
        if self.broken == Some(Broken::HighestRevision) {
            view.at = [view.at.into_iter().max().expect("there are keys"); KEYS];
        }
        Look::Found(Box::new(view))
    }

    /// At one revision, as new as the replicas that were met have, and not below `floor`.
    pub(crate) fn look_local(
        &mut self,
        frontend: usize,
        keys: KeyRange,
        floor: Revision,
    ) -> Option<(View, Revision)> {
        let routes = std::rc::Rc::clone(&self.frontends[frontend].routes);
        let mut met = Vec::new();
        for partition in routes.of(keys) {
            let memstore = self.replica(&partition.replicas, partition.keys, |_| true)?;
            met.push((partition.keys, memstore));
        }
        let revision = met.iter().map(|(_, memstore)| self.memstores[*memstore].revision).min()?;
        let compacted = met.iter().map(|(_, memstore)| self.memstores[*memstore].compacted).max()?;
        if revision < floor || revision < compacted {
            return None;
        }
        let mut view = Look::nothing();
        for (of_partition, memstore) in met {
            for key in of_partition.keys().filter(|key| keys.contains(*key)) {
                view.kvs[key] = self.memstores[memstore].read(key, revision);
            }
        }
        Some((view, revision))
    }

    /// Whether what a request lost against can be looked at.
    pub(crate) fn reached(&mut self, frontend: usize, wait: Revision, operation: usize) -> bool {
        let mut touched = KeyRange::NONE;
        self.operations[operation].request.touches(|keys| touched = keys);
        let routes = std::rc::Rc::clone(&self.frontends[frontend].routes);
        routes.of(touched).all(|partition| {
            self.replica(&partition.replicas, partition.keys, |memstore| wait <= memstore.revision).is_some()
        })
    }

    /// Some replica that has what is needed.
    fn replica(
        &mut self,
        replicas: &[usize],
        keys: KeyRange,
        mut has: impl FnMut(&Memstore) -> bool,
    ) -> Option<usize> {
        let first = self.rng.below(replicas.len());
        let order = (0..replicas.len()).map(|next| replicas[(first + next) % replicas.len()]);
        order.into_iter().find(|id| {
            let memstore = &self.memstores[*id];
            memstore.is_readable() && memstore.keys.covers(keys) && has(memstore)
        })
    }
}
