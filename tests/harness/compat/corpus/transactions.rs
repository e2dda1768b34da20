//! Compares of every kind, operations in order, what is refused, and transactions in transactions.

use super::*;

pub(super) fn transactions() -> Vec<Request> {
    use CompareResult::{Equal, Greater, Less, NotEqual};
    let missing_value =
        |result| compare("nowhere", CompareTarget::Value, result, TargetUnion::Value("".into()));
    let ranged =
        |end: &'static str, result, number| Compare { range_end: end.into(), ..version("a", result, number) };
    let yes = || vec![op_put("t", "yes"), op_get("t", "")];
    let no = || vec![op_get("t", ""), op_delete("t", "")];
    let mut txns = vec![
        txn(vec![], vec![], vec![]),
        txn(vec![], vec![op_get("a", "\u{0}")], vec![]),
        txn(vec![version("a", Equal, 1)], yes(), no()),
        txn(vec![version("nowhere", Equal, 0)], yes(), no()),
        txn(vec![version("a", Equal, 1), version("a", Greater, 7)], yes(), no()),
        txn(vec![missing_value(Equal)], yes(), no()),
        txn(vec![missing_value(NotEqual)], yes(), no()),
        txn(vec![ranged("z", Greater, 0)], yes(), no()),
        txn(vec![ranged("a", Equal, 0)], yes(), no()),
        txn(vec![ranged("\u{0}", Less, 100)], yes(), no()),
        txn(vec![Compare { result: 9, ..version("a", Equal, 77) }], yes(), no()),
        txn(vec![Compare { target: 9, ..version("a", Equal, 77) }], yes(), no()),
        txn(vec![Compare { target_union: None, ..version("nowhere", Equal, 0) }], yes(), no()),
        txn(
            vec![Compare { target_union: Some(TargetUnion::Lease(5)), ..version("a", Equal, 0) }],
            yes(),
            no(),
        ),
        txn(vec![version("", Equal, 0)], yes(), no()),
        txn(vec![], vec![op_put("x", "1"), op_delete("x", ""), op_get("x", "")], vec![]),
        txn(vec![], vec![op_delete("x", ""), op_put("x", "1"), op_get("x", "")], vec![]),
        txn(vec![], vec![op_put("x", "1"), op_put("x", "2")], vec![]),
        txn(vec![], vec![op_put("x", "1")], vec![op_put("x", "2")]),
        txn(vec![], vec![], vec![op_put("x", "1"), op_put("x", "2")]),
        txn(vec![], vec![op_put("x", "1"), op_delete("w", "y")], vec![]),
        txn(vec![], vec![op_put("x", "1"), op_delete("w", "\u{0}"), op_get("w", "\u{0}")], vec![]),
        txn(vec![], vec![op_delete("w", "y"), op_delete("x", "z")], vec![]),
        txn(vec![], vec![op_put("y", "1"), op_get("a", "\u{0}"), op_delete("a", "c")], vec![]),
        // A field without an order sorts what the limit lets through, also of what was just written.
        txn(
            vec![],
            vec![
                op_put("zz", "1"),
                op(request_op::Request::RequestRange(RangeRequest {
                    sort_target: 3,
                    limit: 1,
                    ..get("a", "\u{0}")
                })),
            ],
            vec![],
        ),
        txn(vec![], vec![RequestOp { request: None }], vec![]),
        txn(vec![], vec![op_put("", "1")], vec![]),
        txn(vec![], vec![op_get("", "")], vec![op_delete("", "")]),
        txn(
            vec![],
            vec![op(request_op::Request::RequestRange(RangeRequest { revision: 1_000_000, ..get("a", "") }))],
            vec![],
        ),
        txn(
            vec![],
            vec![op(request_op::Request::RequestRange(RangeRequest { revision: -1, ..get("a", "") }))],
            vec![],
        ),
        txn(
            vec![],
            vec![op(request_op::Request::RequestRange(RangeRequest { revision: 3, ..get("a", "\u{0}") }))],
            vec![],
        ),
        txn(
            vec![],
            vec![
                op_put("q", "1"),
                op(request_op::Request::RequestRange(RangeRequest { sort_target: 9, ..get("a", "") })),
            ],
            vec![],
        ),
    ];
    for prev in [
        PutRequest { prev_kv: true, ..put("a", "in a txn") },
        PutRequest { ignore_value: true, ..put("nowhere", "") },
    ] {
        txns.push(txn(
            vec![],
            vec![op_put("before", "1"), op(request_op::Request::RequestPut(prev))],
            vec![],
        ));
    }
    let mut requests: Vec<Request> = txns.into_iter().map(Request::Txn).collect();
    requests.push(Request::Range(get("a", "\u{0}")));
    requests
}

pub(super) fn nested() -> Vec<Request> {
    use CompareResult::Equal;
    let inner =
        |key| txn(vec![version(key, Equal, 0)], vec![op_put("inner", "yes")], vec![op_put("inner", "no")]);
    let deep =
        |depth: usize| (0..depth).fold(inner("fresh"), |inner, _| txn(vec![], vec![op_txn(inner)], vec![]));
    [
        txn(vec![], vec![op_put("outer", "1"), op_txn(inner("outer"))], vec![]),
        txn(vec![], vec![op_put("inner", "1"), op_txn(inner("outer"))], vec![]),
        txn(vec![], vec![op_delete("a", "z"), op_txn(inner("outer"))], vec![]),
        txn(vec![], vec![op_txn(inner("p")), op_txn(inner("q"))], vec![]),
        txn(vec![], vec![op_txn(txn(vec![], vec![op_get("a", "z")], vec![]))], vec![]),
        txn(vec![], vec![op_txn(txn(vec![version("", Equal, 0)], vec![], vec![]))], vec![]),
        deep(3),
        deep(10),
    ]
    .map(Request::Txn)
    .into()
}
