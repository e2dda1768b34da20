//! Numbers and names that no sensible client sends, and services that are asked seldom.

use proto::etcdserverpb::{LeaseKeepAliveRequest, MoveLeaderRequest};

use super::super::auth::AuthRequest;
use super::*;

pub(super) fn oddities() -> Vec<Request> {
    [numbers(), bounds(), odd_leases(), deep(), services()].concat()
}

fn numbers() -> Vec<Request> {
    let mut requests = vec![Request::Put(put("odd/a", "1")), Request::Put(put("odd/b", "2"))];
    let range = get("odd/", "odd0");
    for number in [i64::MIN, -2, i64::MAX] {
        requests.push(Request::Range(RangeRequest { limit: number, ..range.clone() }));
        requests.push(Request::Range(RangeRequest { revision: number, ..range.clone() }));
        let within = RangeRequest { limit: number, sort_order: 2, sort_target: 1, ..range.clone() };
        requests.push(Request::Range(within));
        let ranged =
            op(request_op::Request::RequestRange(RangeRequest { revision: number, ..range.clone() }));
        requests.push(Request::Txn(txn(vec![], vec![ranged], vec![])));
        requests.push(Request::Compact(CompactionRequest { revision: number, physical: true }));
    }
    for (sort_order, sort_target) in [(i32::MIN, 0), (i32::MAX, 0), (0, i32::MIN), (1, i32::MAX), (9, 9)] {
        requests.push(Request::Range(RangeRequest { sort_order, sort_target, ..range.clone() }));
        // The key is looked at first.
        requests.push(Request::Range(RangeRequest { sort_order, sort_target, ..get("", "") }));
    }
    for (result, target) in [(-1, 0), (4, 0), (0, -1), (0, 5), (i32::MIN, i32::MAX)] {
        let odd = Compare { result, target, ..version("odd/a", CompareResult::Equal, 9) };
        requests.push(Request::Txn(txn(vec![odd], vec![op_get("odd/a", "")], vec![])));
    }
    requests
}

fn bounds() -> Vec<Request> {
    let mut requests = Vec::new();
    for bound in [i64::MIN, -1, i64::MAX] {
        let bounds: [fn(&mut RangeRequest, i64); 4] = [
            |request, bound| request.min_mod_revision = bound,
            |request, bound| request.max_mod_revision = bound,
            |request, bound| request.min_create_revision = bound,
            |request, bound| request.max_create_revision = bound,
        ];
        for set in bounds {
            for (limit, count_only) in [(0, false), (1, false), (0, true)] {
                let mut request = RangeRequest { limit, count_only, ..get("odd/", "odd0") };
                set(&mut request, bound);
                requests.push(Request::Range(request));
            }
        }
    }
    requests
}

fn odd_leases() -> Vec<Request> {
    let grant = |id, ttl| Request::Grant(LeaseGrantRequest { ttl, id });
    let keep = |id| Request::KeepAlive(LeaseKeepAliveRequest { id });
    let ask = |id, keys| Request::TimeToLive(LeaseTimeToLiveRequest { id, keys });
    let revoke = |id| Request::Revoke(LeaseRevokeRequest { id });
    vec![
        grant(i64::MIN, 700),
        grant(-1, 800),
        grant(i64::MAX, 900),
        // What is wrong with it is not that it is there.
        grant(-1, 9_000_000_001),
        grant(-1, i64::MAX),
        // Of those that are there it counts that they are, however short their time.
        grant(-1, i64::MIN),
        grant(-1, 0),
        keep(-1),
        keep(i64::MIN),
        keep(0),
        keep(-2),
        keep(404),
        Request::Put(PutRequest { lease: -1, ..put("odd/leased", "v") }),
        ask(-1, true),
        ask(-1, false),
        ask(-2, true),
        ask(0, false),
        // The one that ends first comes first.
        Request::Leases(LeaseLeasesRequest {}),
        revoke(-2),
        revoke(i64::MIN),
        revoke(i64::MAX),
        Request::Leases(LeaseLeasesRequest {}),
        revoke(-1),
        keep(-1),
        ask(-1, true),
        Request::Range(get("odd/leased", "")),
        Request::Leases(LeaseLeasesRequest {}),
    ]
}

/// Transactions in transactions, as deep as can be read here.
fn deep() -> Vec<Request> {
    let nest = |depth: usize| {
        (0..depth).fold(txn(vec![], vec![], vec![]), |inner, _| txn(vec![], vec![op_txn(inner)], vec![]))
    };
    [20, 50].map(|depth| Request::Txn(nest(depth))).into()
}

fn services() -> Vec<Request> {
    let hash = |revision| Request::HashKv(HashKvRequest { revision });
    let alarm = |action, alarm, member_id| Request::Alarm(AlarmRequest { action, member_id, alarm });
    // An action that is none makes etcd end.
    let mut requests = vec![
        Request::Status,
        Request::Members,
        Request::Defragment,
        Request::Hash,
        Request::MoveLeader(MoveLeaderRequest { target_id: 0 }),
        Request::MoveLeader(MoveLeaderRequest { target_id: u64::MAX }),
        hash(-1),
        hash(i64::MIN),
        hash(i64::MAX),
        alarm(0, 1, 0),
        alarm(0, 2, 7),
        // No kind of alarm is none.
        alarm(1, 0, 7),
        alarm(2, 0, 7),
        alarm(2, 1, 0),
        // A member that nobody is, and none at all.
        alarm(1, 1, 0),
        alarm(0, 0, 0),
        Request::Put(put("odd/full", "v")),
        Request::Grant(LeaseGrantRequest { ttl: 60, id: 9 }),
        Request::Delete(delete("odd/a", "")),
        alarm(1, 1, 0),
        alarm(1, 1, 7),
        alarm(2, 1, 8),
        alarm(2, 1, 0),
        Request::Put(put("odd/full", "v")),
        alarm(2, 1, 7),
        alarm(2, 1, 7),
        alarm(0, 0, 0),
        Request::Put(put("odd/full", "v")),
        alarm(1, 2, 7),
        Request::Put(put("odd/corrupt", "v")),
        Request::Delete(delete("odd/full", "")),
        Request::Range(get("odd/", "odd0")),
        Request::Txn(txn(vec![], vec![op_put("odd/corrupt", "v")], vec![])),
        Request::Txn(txn(vec![], vec![op_get("odd/full", "")], vec![])),
        Request::Compact(CompactionRequest { revision: 41, physical: false }),
        Request::Grant(LeaseGrantRequest { ttl: 60, id: 9 }),
        Request::Revoke(LeaseRevokeRequest { id: 404 }),
        alarm(2, 2, 7),
        Request::Put(put("odd/whole", "v")),
    ];
    requests.extend(AuthRequest::all().into_iter().map(Request::Auth));
    requests.push(Request::Status);
    requests
}
