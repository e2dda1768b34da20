//! Whether the members have what was acknowledged, once, and nothing that nobody wrote, and whether those who watched
//! were told so.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use proto::etcdserverpb::{DeleteRangeRequest, RangeRequest};

use super::record::{Record, Way};
use super::witness::Witness;
use crate::clients::Clients;

/// Keys asked for at once.
const PAGE: i64 = 10_000;
/// Keys deleted at once.
const PART: i64 = 50_000;

pub(super) struct Judge {
    members: Vec<Clients>,
    /// Over each member.
    witnesses: Vec<Witness>,
    prefix: String,
    /// Where the revisions of this round begin.
    revision: i64,
}

impl Judge {
    pub(super) async fn begin(endpoints: &[String], round: u32) -> Result<Judge> {
        let members = endpoints.iter().map(|one| Clients::new(one)).collect::<Result<Vec<_>>>()?;
        let (prefix, witnesses) = (format!("failover/{round:04}/"), Vec::new());
        let mut judge = Judge { members, witnesses, prefix, revision: 0 };
        judge.revision = judge.versions(0).await?.1;
        let begin = |member: &Clients| Witness::begin(member.clone(), &judge.prefix, judge.revision);
        judge.witnesses = judge.members.iter().map(begin).collect();
        Ok(judge)
    }

    /// What the keys of this round begin with.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Holds what every member answers against what clients know, and forgets the round's keys.
    pub(super) async fn judge(&self, record: &Record) -> Result<()> {
        let twice = record.complaints.keys().find(|complaint| complaint.starts_with("FOUND"));
        ensure!(twice.is_none(), "a write was there before it was made: {twice:?}");
        for at in 0..self.members.len() {
            let (versions, revision) = self.versions(at).await?;
            let changes: i64 = versions.values().sum();
            ensure!(
                changes == revision - self.revision,
                "member {at}: {changes} changes from revision {} to {revision}",
                self.revision
            );
            self.hold(record, &versions).with_context(|| format!("as member {at} tells it"))?;
            let told = self.witnesses[at].testify(revision).await;
            told.with_context(|| format!("as member {at} tells those who watch"))?;
        }
        self.forget().await
    }

    fn hold(&self, record: &Record, versions: &BTreeMap<u64, i64>) -> Result<()> {
        let mut known = 0;
        for write in &record.written {
            let version = versions.get(&write.number).copied().unwrap_or(0);
            known += usize::from(version > 0);
            ensure!(version > 0 || write.acknowledged.is_none(), "lost although acknowledged: {write:?}");
            let most = match Way::of(write.number) {
                Way::Guarded => 1,
                Way::Put => write.attempts.into(),
            };
            ensure!(version <= most, "it happened {version} times: {write:?}");
        }
        ensure!(known == versions.len(), "{} keys that nobody wrote", versions.len() - known);
        Ok(())
    }

    /// How often each key was written, by what one member answers, and at which revision that is.
    async fn versions(&self, at: usize) -> Result<(BTreeMap<u64, i64>, i64)> {
        let mut kv = self.members[at].kv.clone();
        let mut versions = BTreeMap::new();
        let mut request = RangeRequest {
            key: self.prefix.clone().into(),
            range_end: format!("{}~", self.prefix).into(),
            keys_only: true,
            limit: PAGE,
            ..RangeRequest::default()
        };
        loop {
            let answer = kv.range(request.clone()).await?.into_inner();
            if request.revision == 0 {
                request.revision = answer.header.context("a range has a header")?.revision;
            }
            let Some(last) = answer.kvs.last() else { break };
            request.key = [&last.key[..], &[0]].concat().into();
            for kv in &answer.kvs {
                let number = std::str::from_utf8(&kv.key[self.prefix.len()..])?.parse()?;
                versions.insert(number, kv.version);
            }
            if !answer.more {
                break;
            }
        }
        Ok((versions, request.revision))
    }

    /// In parts: a long run has written more than one request may take time for.
    async fn forget(&self) -> Result<()> {
        let (key, range_end) = (Bytes::from(self.prefix.clone()), Bytes::from(format!("{}~", self.prefix)));
        let mut kv = self.members[0].kv.clone();
        let look = RangeRequest {
            key: key.clone(),
            range_end,
            limit: PART,
            keys_only: true,
            ..RangeRequest::default()
        };
        let revision = loop {
            let found = kv.range(look.clone()).await?.into_inner();
            let Some(last) = found.kvs.last() else { break found.header.context("a header")?.revision };
            let range_end = [&last.key[..], &[0]].concat().into();
            kv.delete_range(DeleteRangeRequest { key: key.clone(), range_end, prev_kv: false }).await?;
        };
        let request = proto::etcdserverpb::CompactionRequest { revision, physical: false };
        kv.compact(request).await?;
        Ok(())
    }
}
