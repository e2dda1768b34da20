//! One change of the routes: as they would be, or why not.
//!
//! A range never changes under its id. Whatever has other keys than before is another partition, so that a memstore
//! can hold the old one and the new one beside each other while it goes over.

use bytes::Bytes;

use super::{MemstoreInfo, Route, RouteRefusal, Routes};

type Changed = Result<Routes, RouteRefusal>;

impl Routes {
    /// The first routes there are: a partition from each of these keys on, and one before them. No replicas yet.
    ///
    /// # Errors
    /// There are routes already, or too many keys.
    pub fn begin(&self, split_keys: &[Bytes]) -> Changed {
        if self.version != 0 {
            return refuse(format!("there are routes already, of version {}", self.version));
        }
        let mut keys = split_keys.to_vec();
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| !key.is_empty());
        let starts = std::iter::once(Bytes::new()).chain(keys.iter().cloned());
        let ends = keys.iter().cloned().map(Some).chain([None]);
        self.changed(|next| {
            for (start, end) in starts.zip(ends) {
                let partition = next.new_partition();
                next.partitions.push(Route { partition, start, end, replicas: Vec::new() });
            }
        })
    }

    /// Adds the memstore, or tells anew of the one with its id where it is.
    ///
    /// # Errors
    /// Its name is another's, there are no routes yet, or too many memstores.
    pub fn register(&self, memstore: MemstoreInfo) -> Changed {
        if let Some(other) = self.memstore_named(&memstore.name).filter(|other| other.id != memstore.id) {
            return refuse(format!("the name {} is that of memstore {:x}", memstore.name, other.id));
        }
        self.changed(|next| {
            next.memstores.retain(|other| other.id != memstore.id);
            let at = next.memstores.partition_point(|other| other.id < memstore.id);
            next.memstores.insert(at, memstore);
        })
    }

    /// It is doubted that the memstore's process runs.
    ///
    /// # Errors
    /// The memstore is not there.
    pub fn doubt(&self, memstore: u64) -> Changed {
        self.with_process(memstore, |process| process | MemstoreInfo::DOUBTED)
    }

    /// It is not doubted any more.
    ///
    /// # Errors
    /// The memstore is not there.
    pub fn vouch(&self, memstore: u64) -> Changed {
        self.with_process(memstore, |process| process & !MemstoreInfo::DOUBTED)
    }

    fn with_process(&self, memstore: u64, change: impl FnOnce(u64) -> u64) -> Changed {
        let Some(info) = self.memstore(memstore) else { return unknown_memstore(memstore) };
        self.register(MemstoreInfo { process: change(info.process), ..info.clone() })
    }

    /// Takes the memstore out, also where it is a replica.
    ///
    /// # Errors
    /// It is not there, or a partition has no other.
    pub fn unregister(&self, memstore: u64) -> Changed {
        let Some(info) = self.memstore(memstore) else { return unknown_memstore(memstore) };
        if let Some(route) = self.partitions.iter().find(|route| route.replicas == [memstore]) {
            let (name, partition) = (&info.name, route.partition);
            return refuse(format!(
                "memstore {name} alone holds partition {partition}: add another replica of it first"
            ));
        }
        self.changed(|next| {
            next.memstores.retain(|other| other.id != memstore);
            next.partitions.iter_mut().for_each(|route| route.replicas.retain(|other| *other != memstore));
        })
    }

    /// Makes two partitions of the one that `key` belongs to. The second begins with `key`.
    ///
    /// # Errors
    /// One begins there already, there are no routes yet, or too many partitions.
    pub fn split(&self, key: &Bytes) -> Changed {
        let Some(route) = self.partition_of(key) else { return no_routes() };
        if route.start == *key {
            return refuse(format!("partition {} begins with this key already", route.partition));
        }
        let at = self.place(route.partition);
        self.changed(|next| {
            let old = next.partitions.remove(at);
            let replicas = old.replicas.clone();
            let (first, second) = (next.new_partition(), next.new_partition());
            let right = Route { partition: second, start: key.clone(), end: old.end, replicas: old.replicas };
            let left = Route { partition: first, start: old.start, end: Some(key.clone()), replicas };
            next.partitions.splice(at..at, [left, right]);
        })
    }

    /// Makes one partition of this one and the next.
    ///
    /// # Errors
    /// It is not there, it is the last, or other memstores hold the next one: nobody could go over to the new one
    /// without a time in which some keys are held by nobody.
    pub fn merge(&self, partition: u64) -> Changed {
        let Some(route) = self.partition(partition) else { return unknown_partition(partition) };
        let at = self.place(partition);
        let Some(right) = self.partitions.get(at + 1) else {
            return refuse(format!("partition {partition} is the last one: there is none behind it"));
        };
        if route.replicas != right.replicas {
            let other = right.partition;
            return refuse(format!(
                "partitions {partition} and {other} are held by different memstores: move one of them first"
            ));
        }
        self.changed(|next| {
            let right = next.partitions.remove(at + 1);
            let partition = next.new_partition();
            let left = &mut next.partitions[at];
            (left.partition, left.end) = (partition, right.end);
        })
    }

    /// The memstore should hold the partition, too.
    ///
    /// # Errors
    /// One of them is not there, or it should already.
    pub fn add_replica(&self, partition: u64, memstore: u64) -> Changed {
        let Some(route) = self.partition(partition) else { return unknown_partition(partition) };
        let Some(info) = self.memstore(memstore) else { return unknown_memstore(memstore) };
        if route.replicas.contains(&memstore) {
            return refuse(format!("memstore {} has partition {partition} already", info.name));
        }
        let at = self.place(partition);
        self.changed(|next| {
            let replicas = &mut next.partitions[at].replicas;
            replicas.push(memstore);
            replicas.sort_unstable();
        })
    }

    /// The memstore should not hold the partition any more.
    ///
    /// # Errors
    /// It does not, or nobody else does.
    pub fn remove_replica(&self, partition: u64, memstore: u64) -> Changed {
        let Some(route) = self.partition(partition) else { return unknown_partition(partition) };
        let name = self.memstore(memstore).map_or("", |info| &info.name[..]);
        if !route.replicas.contains(&memstore) {
            return refuse(format!("memstore {name} does not have partition {partition}"));
        }
        if route.replicas.len() == 1 {
            return refuse(format!(
                "memstore {name} alone holds partition {partition}: add another replica of it first"
            ));
        }
        let at = self.place(partition);
        self.changed(|next| next.partitions[at].replicas.retain(|other| *other != memstore))
    }

    /// Several changes as one: these routes, as what follows `current`.
    #[must_use]
    pub fn following(mut self, current: &Routes) -> Routes {
        self.version = current.version + 1;
        self
    }

    fn changed(&self, change: impl FnOnce(&mut Routes)) -> Changed {
        let mut next = self.clone();
        next.version += 1;
        change(&mut next);
        match next.check() {
            Ok(()) => Ok(next),
            Err(_) if next.partitions.is_empty() => no_routes(),
            Err(why) => refuse(why),
        }
    }

    fn new_partition(&mut self) -> u64 {
        self.next_partition += 1;
        self.next_partition - 1
    }

    fn place(&self, partition: u64) -> usize {
        let place = self.partitions.iter().position(|route| route.partition == partition);
        place.expect("it was looked up just before")
    }
}

fn refuse(why: String) -> Changed {
    Err(RouteRefusal(why))
}

fn no_routes() -> Changed {
    refuse("nobody has routed yet: start a memstore of its own first (--role memstore)".into())
}

fn unknown_partition(partition: u64) -> Changed {
    refuse(format!("there is no partition {partition}: it may have been split or merged meanwhile"))
}

fn unknown_memstore(memstore: u64) -> Changed {
    refuse(format!("there is no memstore {memstore:x}: it has not registered itself"))
}
