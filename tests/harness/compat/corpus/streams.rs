//! Ranges in pieces: every option, borders of a piece, refusals. etcd 3.6 knows no such thing.

use super::*;

/// Keys in all partitions, several pieces' worth of them.
const KEYS: usize = 100;

/// Requests whose answers come as a stream, and the puts that they need.
pub(super) fn streams() -> Vec<Request> {
    let mut requests: Vec<Request> = (0..KEYS)
        .map(|number| {
            let letter = ["a", "b", "k4", "n", "/registry/k"][number % 5];
            Request::Put(PutRequest {
                key: format!("{letter}/stream/{number:03}").into(),
                value: vec![b'v'; number].into(),
                ..PutRequest::default()
            })
        })
        .collect();
    let all = get("\u{0}", "\u{0}");
    for limit in [i64::MIN, -1, 1, 9, 10, 11, 29, 30, 31, 70, 71, 99, 100, 101, 1000, i64::MAX] {
        requests.push(Request::Stream(RangeRequest { limit, ..all.clone() }));
        requests.push(Request::Stream(RangeRequest { limit, count_only: true, ..all.clone() }));
        requests.push(Request::Stream(RangeRequest { limit, ..get("a/stream", "a/stream0") }));
    }
    for revision in [-1, 1, 2, 50, 1_000_000] {
        requests.push(Request::Stream(RangeRequest { revision, ..all.clone() }));
        requests.push(Request::Stream(RangeRequest { revision, limit: 15, ..all.clone() }));
        requests.push(Request::Stream(RangeRequest { revision, count_only: true, ..all.clone() }));
    }
    requests.push(Request::Stream(RangeRequest { keys_only: true, ..all.clone() }));
    requests.push(Request::Stream(RangeRequest { keys_only: true, limit: 12, ..all.clone() }));
    requests.push(Request::Stream(RangeRequest { serializable: true, ..all.clone() }));
    requests.push(Request::Stream(RangeRequest { keys_only: true, count_only: true, ..all.clone() }));
    for (key, end) in
        [("a", ""), ("nowhere", ""), ("c", "a"), ("b", "b"), ("", ""), ("", "\u{0}"), ("m", "\u{0}")]
    {
        requests.push(Request::Stream(get(key, end)));
        requests.push(Request::Stream(RangeRequest { limit: 1, ..get(key, end) }));
        requests.push(Request::Stream(RangeRequest { count_only: true, ..get(key, end) }));
    }
    for sort_order in [-1, 1, 2, 3] {
        for sort_target in [-1, 0, 1, 4, 5] {
            requests.push(Request::Stream(RangeRequest { sort_order, sort_target, ..all.clone() }));
        }
    }
    // Of keys in pieces etcd loses some when a field is named and no order; of one key it can lose none.
    requests.push(Request::Stream(RangeRequest { sort_target: 3, ..get("a", "") }));
    for bound in [-1, 1, 7] {
        let bounds: [fn(&mut RangeRequest, i64); 4] = [
            |request, bound| request.min_mod_revision = bound,
            |request, bound| request.max_mod_revision = bound,
            |request, bound| request.min_create_revision = bound,
            |request, bound| request.max_create_revision = bound,
        ];
        for set in bounds {
            let mut request = all.clone();
            set(&mut request, bound);
            requests.push(Request::Stream(request));
        }
    }
    requests.push(Request::Delete(delete("a/stream", "a/stream0")));
    requests.push(Request::Stream(all));
    requests
}

/// Values that make pieces grow, stay and shrink: many small ones, then some so large that the next piece is too
/// large, then small ones again.
#[must_use]
pub fn large_values() -> Vec<PutRequest> {
    let sizes = [(400, 100), (300, 40_000), (100, 1_000), (20, 1_000_000), (700, 10)];
    let sizes = sizes.into_iter().flat_map(|(count, bytes)| std::iter::repeat_n(bytes, count));
    let put = |(number, bytes): (usize, usize)| {
        let letter = ["a", "c", "k4", "n", "/registry/k"][number * 5 / 1521];
        PutRequest {
            key: format!("{letter}/{number:05}").into(),
            value: vec![b'v'; bytes].into(),
            ..PutRequest::default()
        }
    };
    sizes.enumerate().map(put).collect()
}
