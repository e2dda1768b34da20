//! The model's clients: what a request is evaluated to, at replicas that lag behind.

use super::*;
use crate::routes::Routes;

pub(super) fn key(n: u8) -> Bytes {
    Bytes::copy_from_slice(&[b'k', n])
}

pub(super) fn number(key: &[u8]) -> u8 {
    key[1]
}

/// Of everything in the range: stands for any function of it.
pub(super) fn digest(table: &Table, reads: &[Read]) -> u64 {
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

pub(super) fn judge_at(read: &Read) -> Revision {
    match read {
        Read::Keys { at, .. } | Read::Lease { at, .. } => *at,
    }
}

pub(super) fn write(n: u8, value: u64, lease: i64, delete: bool) -> Write {
    if delete {
        return Write::Delete { key: key(n) };
    }
    let value = Bytes::copy_from_slice(&value.to_le_bytes());
    Write::Put { key: key(n), value, lease: LeaseId(lease) }
}

impl World {
    pub(super) fn last(&self) -> u64 {
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

    pub(super) fn evaluate(&self, want: &Want, origin: Origin, lags: [u8; 2]) -> Append {
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
            Want::Routes(lag) => {
                let version = self.routes().saturating_sub(*lag) + 1;
                let routes = Routes::default().begin(&[]).unwrap().at(version);
                Append { sysop: Some(SysOp::Routes(routes.into())), ..append }
            }
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
}
