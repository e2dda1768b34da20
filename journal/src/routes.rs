//! Who should hold which keys: the partitions, their replicas, and the memstores that hold them.
//!
//!     keys         ""──────────── g ──────────── t ───►
//!     partitions     3             7              4         an id stands for one range, for ever
//!     replicas       [a, b]        [b, c]         []        memstores; none: every one that is not registered
//!
//! The journal keeps one such value and changes it by comparing: the next version is accepted only where nobody else
//! has made it. Everything here is pure. A change answers the routes as they would be, or in a sentence why not.
//!
//! Invariants: the partitions follow each other without gap or overlap, from the empty key to the end of all keys;
//! their ids were never used before; replicas are memstores that are there.

mod change;
mod encoding;

use std::collections::BTreeSet;

use bytes::Bytes;

pub(crate) use encoding::{put_routes, read_routes};

/// What a cluster has at the most. Everything that knows the journal's status holds all of it.
const PARTITIONS_MAX: usize = 4_096;
const MEMSTORES_MAX: usize = 1_024;
const BYTES_MAX: usize = 512 << 10;

/// Versions and partitions stay below it, so that the next one is always a number.
const COUNTERS_END: u64 = 1 << 62;

/// One partition, and who should hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub partition: u64,
    pub start: Bytes,
    /// The first key behind it; `None` is the end of all keys.
    pub end: Option<Bytes>,
    /// Memstores, by their ids, in their order. None at all: every memstore that is not registered.
    pub replicas: Vec<u64>,
}

/// A memstore of a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemstoreInfo {
    /// The same for as long as it has this name. Not 0.
    pub id: u64,
    pub name: String,
    /// Where frontends reach it.
    pub url: String,
    /// What fails together, such as a rack or a building. Replicas of a partition are spread over zones.
    pub zone: String,
    /// The number of the process, another at each start. Its highest bit is set while it is doubted that it runs.
    pub process: u64,
}

impl MemstoreInfo {
    const DOUBTED: u64 = 1 << 63;

    /// Whether a frontend that does not see the process doubts that it runs, and no other has vouched for it.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        self.process & MemstoreInfo::DOUBTED != 0
    }

    /// Whether this is the number of its process, doubted or not.
    #[must_use]
    pub fn is_process(&self, process: u64) -> bool {
        self.process & !MemstoreInfo::DOUBTED == process
    }
}

/// Why routes stay as they are, in a sentence for whoever wanted to change them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct RouteRefusal(pub String);

/// The routes of one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Routes {
    version: u64,
    next_partition: u64,
    partitions: Vec<Route>,
    memstores: Vec<MemstoreInfo>,
}

impl Default for Routes {
    /// Nobody has ever routed: version 0. Each memstore holds everything, partitioned as it was started.
    fn default() -> Routes {
        Routes { version: 0, next_partition: 1, partitions: Vec::new(), memstores: Vec::new() }
    }
}

impl Routes {
    /// # Errors
    /// What is wrong with them.
    pub fn new(
        version: u64,
        next_partition: u64,
        partitions: Vec<Route>,
        memstores: Vec<MemstoreInfo>,
    ) -> Result<Routes, RouteRefusal> {
        let routes = Routes { version, next_partition, partitions, memstores };
        routes.check().map_err(RouteRefusal)?;
        Ok(routes)
    }

    fn check(&self) -> Result<(), String> {
        if self.version == 0 {
            return if *self == Routes::default() { Ok(()) } else { Err("version 0 has no routes".into()) };
        }
        if self.version >= COUNTERS_END || self.next_partition >= COUNTERS_END {
            return Err("nobody has counted that far".into());
        }
        self.check_memstores()?;
        self.check_partitions()?;
        let bytes = encoding::bytes(self);
        if bytes > BYTES_MAX {
            return Err(format!("the routes would take {bytes} bytes, and {BYTES_MAX} is the most"));
        }
        Ok(())
    }

    fn check_memstores(&self) -> Result<(), String> {
        let count = self.memstores.len();
        if count > MEMSTORES_MAX {
            return Err(format!("{count} memstores are too many: {MEMSTORES_MAX} is the most"));
        }
        if !self.memstores.is_sorted_by(|a, b| a.id < b.id) || self.memstores.iter().any(|info| info.id == 0)
        {
            return Err("the memstores are not in the order of their ids".into());
        }
        let names: BTreeSet<&str> = self.memstores.iter().map(|info| &info.name[..]).collect();
        if names.len() != count || names.contains("") {
            return Err("a memstore has no name of its own".into());
        }
        Ok(())
    }

    fn check_partitions(&self) -> Result<(), String> {
        let count = self.partitions.len();
        if count > PARTITIONS_MAX {
            return Err(format!("{count} partitions are too many: {PARTITIONS_MAX} is the most"));
        }
        let mut ids = BTreeSet::new();
        let mut from = Some(Bytes::new());
        for route in &self.partitions {
            let id = route.partition;
            if from.as_ref() != Some(&route.start)
                || route.end.as_ref().is_some_and(|end| *end <= route.start)
            {
                return Err(format!("the keys of partition {id} do not follow those of the one before"));
            }
            from.clone_from(&route.end);
            if id == 0 || self.next_partition <= id || !ids.insert(id) {
                return Err(format!("{id} is no new partition's id"));
            }
            let known = |replica: &u64| self.memstore(*replica).is_some();
            if !route.replicas.is_sorted_by(|a, b| a < b) || !route.replicas.iter().all(known) {
                return Err(format!(
                    "partition {id} names memstores that are not there, or one of them twice"
                ));
            }
        }
        if from.is_some() {
            return Err("the partitions do not reach the end of all keys".into());
        }
        Ok(())
    }

    /// 0: nobody has ever routed.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// In the order of their keys. None at version 0.
    #[must_use]
    pub fn partitions(&self) -> &[Route] {
        &self.partitions
    }

    #[must_use]
    pub fn partition(&self, id: u64) -> Option<&Route> {
        self.partitions.iter().find(|route| route.partition == id)
    }

    /// The partition that the key belongs to. `None` at version 0.
    #[must_use]
    pub fn partition_of(&self, key: &[u8]) -> Option<&Route> {
        let behind = self.partitions.partition_point(|route| route.start[..] <= *key);
        behind.checked_sub(1).map(|at| &self.partitions[at])
    }

    /// Those of which the memstore should hold a replica.
    pub fn held_by(&self, memstore: u64) -> impl Iterator<Item = &Route> {
        self.partitions.iter().filter(move |route| route.replicas.contains(&memstore))
    }

    /// In the order of their ids.
    #[must_use]
    pub fn memstores(&self) -> &[MemstoreInfo] {
        &self.memstores
    }

    #[must_use]
    pub fn memstore(&self, id: u64) -> Option<&MemstoreInfo> {
        let at = self.memstores.binary_search_by_key(&id, |info| info.id).ok()?;
        Some(&self.memstores[at])
    }

    /// The memstore of that name.
    #[must_use]
    pub fn memstore_named(&self, name: &str) -> Option<&MemstoreInfo> {
        self.memstores.iter().find(|info| info.name == name)
    }
}

#[cfg(test)]
pub(crate) mod tests;
