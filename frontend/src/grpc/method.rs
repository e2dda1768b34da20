//! Every method of etcd's gRPC API that this program knows by name.
//!
//! A method's place in the table is its number: counters are arrays indexed by it, so that counting a call is
//! one addition. The methods that clients call most come first, because the table is searched from the top.

/// How many messages go each way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Unary,
    ServerStream,
    BidiStream,
}

impl Kind {
    /// As the label `grpc_type` has it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::Unary => "unary",
            Kind::ServerStream => "server_stream",
            Kind::BidiStream => "bidi_stream",
        }
    }
}

/// One method. `path` is `/service/name`.
pub(crate) struct Method {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
}

impl Method {
    /// Whether a member without a vote answers it. Of ranges only those that may be stale, which is looked at with
    /// the request.
    pub(crate) fn serves_learner(&self) -> bool {
        let served = [
            "/etcdserverpb.KV/Range",
            "/etcdserverpb.Maintenance/Status",
            "/etcdserverpb.Maintenance/Snapshot",
        ];
        served.contains(&self.path)
    }

    pub(crate) fn service(&self) -> &'static str {
        self.split().0
    }

    pub(crate) fn name(&self) -> &'static str {
        self.split().1
    }

    fn split(&self) -> (&'static str, &'static str) {
        split(self.path).expect("every path of the table is well formed")
    }
}

/// The place of a method in `METHODS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MethodId(pub(crate) usize);

impl MethodId {
    /// The method with exactly this path.
    pub(crate) fn of(path: &str) -> Option<MethodId> {
        METHODS.iter().position(|method| method.path == path).map(MethodId)
    }

    pub(crate) fn method(self) -> &'static Method {
        &METHODS[self.0]
    }
}

/// `/service/method` into its two halves.
pub(crate) fn split(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix('/')?.rsplit_once('/')
}

/// How many methods there are.
pub(crate) const METHODS_COUNT: usize = METHODS.len();

const fn unary(path: &'static str) -> Method {
    Method { path, kind: Kind::Unary }
}

const fn server_stream(path: &'static str) -> Method {
    Method { path, kind: Kind::ServerStream }
}

const fn bidi_stream(path: &'static str) -> Method {
    Method { path, kind: Kind::BidiStream }
}

pub(crate) static METHODS: [Method; 57] = [
    unary("/etcdserverpb.KV/Range"),
    unary("/etcdserverpb.KV/Txn"),
    unary("/etcdserverpb.KV/Put"),
    bidi_stream("/etcdserverpb.Lease/LeaseKeepAlive"),
    unary("/etcdserverpb.Lease/LeaseGrant"),
    bidi_stream("/etcdserverpb.Watch/Watch"),
    server_stream("/etcdserverpb.KV/RangeStream"),
    unary("/etcdserverpb.KV/DeleteRange"),
    unary("/etcdserverpb.KV/Compact"),
    unary("/etcdserverpb.Lease/LeaseRevoke"),
    unary("/etcdserverpb.Lease/LeaseTimeToLive"),
    unary("/etcdserverpb.Lease/LeaseLeases"),
    unary("/etcdserverpb.Maintenance/Status"),
    unary("/etcdserverpb.Maintenance/Alarm"),
    unary("/etcdserverpb.Maintenance/Defragment"),
    unary("/etcdserverpb.Maintenance/Hash"),
    unary("/etcdserverpb.Maintenance/HashKV"),
    server_stream("/etcdserverpb.Maintenance/Snapshot"),
    unary("/etcdserverpb.Maintenance/MoveLeader"),
    unary("/etcdserverpb.Maintenance/Downgrade"),
    unary("/etcdserverpb.Cluster/MemberList"),
    unary("/etcdserverpb.Cluster/MemberAdd"),
    unary("/etcdserverpb.Cluster/MemberRemove"),
    unary("/etcdserverpb.Cluster/MemberUpdate"),
    unary("/etcdserverpb.Cluster/MemberPromote"),
    unary("/grpc.health.v1.Health/Check"),
    unary("/grpc.health.v1.Health/List"),
    server_stream("/grpc.health.v1.Health/Watch"),
    unary("/etcdserverpb.Auth/Authenticate"),
    unary("/etcdserverpb.Auth/AuthStatus"),
    unary("/etcdserverpb.Auth/AuthEnable"),
    unary("/etcdserverpb.Auth/AuthDisable"),
    unary("/etcdserverpb.Auth/UserAdd"),
    unary("/etcdserverpb.Auth/UserGet"),
    unary("/etcdserverpb.Auth/UserList"),
    unary("/etcdserverpb.Auth/UserDelete"),
    unary("/etcdserverpb.Auth/UserChangePassword"),
    unary("/etcdserverpb.Auth/UserGrantRole"),
    unary("/etcdserverpb.Auth/UserRevokeRole"),
    unary("/etcdserverpb.Auth/RoleAdd"),
    unary("/etcdserverpb.Auth/RoleGet"),
    unary("/etcdserverpb.Auth/RoleList"),
    unary("/etcdserverpb.Auth/RoleDelete"),
    unary("/etcdserverpb.Auth/RoleGrantPermission"),
    unary("/etcdserverpb.Auth/RoleRevokePermission"),
    unary("/v3lockpb.Lock/Lock"),
    unary("/v3lockpb.Lock/Unlock"),
    unary("/v3electionpb.Election/Campaign"),
    unary("/v3electionpb.Election/Proclaim"),
    unary("/v3electionpb.Election/Leader"),
    server_stream("/v3electionpb.Election/Observe"),
    unary("/v3electionpb.Election/Resign"),
    unary("/mainstem.admin.v1.Admin/List"),
    unary("/mainstem.admin.v1.Admin/Split"),
    unary("/mainstem.admin.v1.Admin/Merge"),
    unary("/mainstem.admin.v1.Admin/Move"),
    unary("/mainstem.admin.v1.Admin/Forget"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_is_found_at_its_own_place() {
        for (place, method) in METHODS.iter().enumerate() {
            assert_eq!(MethodId::of(method.path), Some(MethodId(place)));
        }
    }

    #[test]
    fn a_path_names_a_service_and_a_method() {
        let put = MethodId::of("/etcdserverpb.KV/Put").expect("it is in the table").method();
        assert_eq!((put.service(), put.name()), ("etcdserverpb.KV", "Put"));
        assert_eq!(split("nonsense"), None);
        assert_eq!(split("/nonsense"), None);
    }
}
