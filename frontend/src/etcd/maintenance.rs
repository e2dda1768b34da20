//! etcd's Maintenance service: health, alarms, hashes.

use std::pin::Pin;

use journal::{Alarm, Revision, SysOp};
use memstore::Hash;
use proto::etcdserverpb as wire;
use proto::etcdserverpb::alarm_request::AlarmAction;
use proto::etcdserverpb::maintenance_server::Maintenance;
use tokio_stream::Stream;
use tonic::{Request, Response, Status};

use crate::answer::{Answered, Position};
use crate::error::Error;
use crate::etcd::header::{Identity, Speaks};
use crate::store::Store;
use crate::version::Version;

/// What comes later says.
const SNAPSHOT_LATER: &str = "a backup as one file comes with a later release";
const DOWNGRADE_LATER: &str = "there is no earlier release to go back to";

/// HashKV of no keys: of the name of etcd's bucket of keys, with which each begins.
const HASH_OF_NOTHING: u32 = 0x40a4_756d;

/// The service.
pub(crate) struct MaintenanceService {
    store: Store,
    identity: Identity,
    speaks: Speaks,
    version: Version,
    quota_bytes: u64,
}

impl MaintenanceService {
    pub(crate) fn new(
        store: Store,
        identity: Identity,
        speaks: Speaks,
        version: Version,
        quota_bytes: u64,
    ) -> MaintenanceService {
        MaintenanceService { store, identity, speaks, version, quota_bytes }
    }

    /// Those that are raised by now, and not only those that this endpoint has heard of. As in etcd, it takes a leader.
    async fn alarms_now(&self) -> Result<Vec<wire::AlarmMember>, Error> {
        Ok(alarms(&self.store.status_by_now().await?))
    }

    /// Any number may be a member's: etcd asks nobody whether there is one, and 0 is none of its own.
    async fn raise(&self, member: u64, alarm: Alarm) -> Result<Vec<wire::AlarmMember>, Status> {
        let quota = self.store.quota();
        // Before it is there: whoever keeps the quota is not to take it for its own.
        let no_space = (member, alarm) == (self.identity.member_id, Alarm::NoSpace);
        if no_space {
            quota.belongs_to_operator(true);
        }
        self.store.change(SysOp::AlarmRaise { member, alarm }).await.inspect_err(|_| {
            if no_space {
                quota.belongs_to_operator(false);
            }
        })?;
        quota.raise(alarm);
        Ok(vec![wire::AlarmMember { member_id: member, alarm: to_wire(alarm) as i32 }])
    }

    /// Clears what is raised, and answers it. Whoever cleared it finds it no longer in force.
    async fn clear(&self, member: u64, alarm: Alarm) -> Result<Vec<wire::AlarmMember>, Status> {
        let raised = self.alarms_now().await?.into_iter();
        let cleared: Vec<_> =
            raised.filter(|one| one.member_id == member && one.alarm == to_wire(alarm) as i32).collect();
        if !cleared.is_empty() {
            let Answered { at, .. } = self.store.change(SysOp::AlarmClear { member, alarm }).await?;
            self.store.quota().show(&self.store.status_at(at.lsn).await?.alarms);
        }
        Ok(cleared)
    }

    async fn hash_at(&self, asked: u64) -> Result<(Hash, Position), Error> {
        let at = self.store.barrier().await?;
        let upto = match asked {
            0 => at.revision,
            future if at.revision.0 < future => return Err(Error::FutureRevision),
            revision => Revision(revision),
        };
        Ok((self.store.routes().hash_kv(upto, at.lsn).await?, at))
    }
}

/// etcd's store was never compacted at -1.
fn compact_revision(compacted: Revision) -> i64 {
    if compacted == Revision::ZERO { -1 } else { compacted.to_wire() }
}

fn alarms(status: &journal::Status) -> Vec<wire::AlarmMember> {
    let alarm =
        |&(member_id, alarm): &(u64, Alarm)| wire::AlarmMember { member_id, alarm: to_wire(alarm) as i32 };
    status.alarms.iter().map(alarm).collect()
}

fn to_wire(alarm: Alarm) -> wire::AlarmType {
    match alarm {
        Alarm::NoSpace => wire::AlarmType::Nospace,
        Alarm::Corrupt => wire::AlarmType::Corrupt,
    }
}

fn from_wire(alarm: i32) -> Option<Alarm> {
    match wire::AlarmType::try_from(alarm) {
        Ok(wire::AlarmType::Nospace) => Some(Alarm::NoSpace),
        Ok(wire::AlarmType::Corrupt) => Some(Alarm::Corrupt),
        Ok(wire::AlarmType::None) | Err(_) => None,
    }
}

#[tonic::async_trait]
impl Maintenance for MaintenanceService {
    async fn alarm(
        &self,
        request: Request<wire::AlarmRequest>,
    ) -> Result<Response<wire::AlarmResponse>, Status> {
        let request = request.into_inner();
        let alarm = from_wire(request.alarm);
        let alarms = match (AlarmAction::try_from(request.action), alarm) {
            (Ok(AlarmAction::Get), _) => {
                let wanted = |one: &wire::AlarmMember| {
                    request.alarm == wire::AlarmType::None as i32 || one.alarm == request.alarm
                };
                self.alarms_now().await?.into_iter().filter(wanted).collect()
            }
            (Ok(AlarmAction::Activate), Some(alarm)) => self.raise(request.member_id, alarm).await?,
            (Ok(AlarmAction::Deactivate), Some(alarm)) => self.clear(request.member_id, alarm).await?,
            // No kind of alarm: none is meant.
            (Ok(AlarmAction::Activate | AlarmAction::Deactivate), None) => Vec::new(),
            (Err(_), _) => return Err(Error::UnknownAlarmAction.into()),
        };
        let header = Some(self.identity.header(self.store.seen()));
        Ok(Response::new(wire::AlarmResponse { header, alarms }))
    }

    async fn status(
        &self,
        _request: Request<wire::StatusRequest>,
    ) -> Result<Response<wire::StatusResponse>, Status> {
        let (stats, at) = (self.store.routes().stats().total, self.store.seen());
        let reached = self.store.routes().reached().lsn;
        let (applied, leader, alarms) = {
            let status = self.store.journal().status_now();
            (status.applied, status.leader, alarms(&status))
        };
        let alarm = |one: wire::AlarmMember| {
            format!("memberID:{} alarm:{} ", one.member_id, one.alarm().as_str_name())
        };
        let mut errors: Vec<String> = alarms.into_iter().map(alarm).collect();
        if leader.is_none() {
            errors.insert(0, "etcdserver: no leader".to_owned());
        }
        let size = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        Ok(Response::new(wire::StatusResponse {
            header: Some(self.speaks.identity(self.identity, leader).header(at)),
            version: self.version.server().to_owned(),
            db_size: size(stats.bytes_total),
            leader: leader.unwrap_or(0),
            // Memstores elsewhere may have told more than the journal has.
            raft_index: applied.max(reached).0,
            raft_term: at.term,
            raft_applied_index: reached.0,
            errors,
            db_size_in_use: size(stats.bytes_in_use),
            is_learner: self.store.learns(),
            storage_version: self.version.cluster().to_owned(),
            db_size_quota: size(self.quota_bytes),
            downgrade_info: Some(wire::DowngradeInfo::default()),
        }))
    }

    /// There is no file whose pages could scatter: nothing to do.
    async fn defragment(
        &self,
        _request: Request<wire::DefragmentRequest>,
    ) -> Result<Response<wire::DefragmentResponse>, Status> {
        Ok(Response::new(wire::DefragmentResponse { header: None }))
    }

    async fn hash(
        &self,
        _request: Request<wire::HashRequest>,
    ) -> Result<Response<wire::HashResponse>, Status> {
        let (Hash { hash, .. }, at) = self.hash_at(0).await?;
        Ok(Response::new(wire::HashResponse { header: Some(self.identity.header(at)), hash }))
    }

    async fn hash_kv(
        &self,
        request: Request<wire::HashKvRequest>,
    ) -> Result<Response<wire::HashKvResponse>, Status> {
        let asked = request.into_inner().revision;
        // Below the first revision there is nothing, which has a hash, too.
        let (Hash { hash, revision, compacted }, at) =
            self.hash_at(u64::try_from(asked).unwrap_or(0)).await?;
        Ok(Response::new(wire::HashKvResponse {
            header: Some(self.identity.header(at)),
            hash: if asked < 0 { HASH_OF_NOTHING } else { hash },
            compact_revision: compact_revision(compacted),
            hash_revision: if asked < 0 { asked } else { revision.to_wire() },
        }))
    }

    type SnapshotStream = Pin<Box<dyn Stream<Item = Result<wire::SnapshotResponse, Status>> + Send>>;

    async fn snapshot(
        &self,
        _request: Request<wire::SnapshotRequest>,
    ) -> Result<Response<Self::SnapshotStream>, Status> {
        Err(Error::Unimplemented(SNAPSHOT_LATER).into())
    }

    async fn move_leader(
        &self,
        request: Request<wire::MoveLeaderRequest>,
    ) -> Result<Response<wire::MoveLeaderResponse>, Status> {
        self.store.move_leader(request.into_inner().target_id).await?;
        Ok(Response::new(wire::MoveLeaderResponse { header: None }))
    }

    async fn downgrade(
        &self,
        _request: Request<wire::DowngradeRequest>,
    ) -> Result<Response<wire::DowngradeResponse>, Status> {
        Err(Error::Unimplemented(DOWNGRADE_LATER).into())
    }
}
