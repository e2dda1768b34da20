//! Histories made from an order: with any overlap and any answers lost they are valid. With one lie they are not.

use proptest::prelude::*;
use proptest::sample::Index;

use super::script::*;
use super::*;
use crate::compat::{Outcome as Said, Request};
use crate::history::{Answer, Call, Outcome};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

fn request() -> impl Strategy<Value = Request> {
    let key = || proptest::sample::select(&KEYS[..]);
    prop_oneof![
        3 => key().prop_map(|key| put(key, "")),
        2 => key().prop_map(get),
        1 => key().prop_map(glance),
        1 => (key(), 0..3_i64).prop_map(|(key, limit)| first_of(key, "z", limit)),
        1 => (key(), key()).prop_map(|(key, end)| delete(key, if key < end { end } else { "" })),
        1 => (key(), 0..12_usize).prop_map(|(key, old)| swap(key, &old.to_string(), "")),
        1 => Just(puts(&["a", "c"], "")),
    ]
}

/// Values are different for each request: its number.
fn numbered(mut requests: Vec<Request>) -> Vec<Request> {
    for (number, request) in requests.iter_mut().enumerate() {
        let value: bytes::Bytes = number.to_string().into();
        match request {
            Request::Put(put) => put.value = value,
            Request::Txn(txn) => {
                for op in &mut txn.success {
                    if let Some(proto::etcdserverpb::request_op::Request::RequestPut(put)) = &mut op.request {
                        put.value = value.clone();
                    }
                }
            }
            _ => {}
        }
    }
    requests
}

/// How far an operation stretches before and behind the moment at which it happens, and whether its answer is lost.
type Stretch = (u64, u64, bool);

prop_compose! {
    fn history_of(lengths: std::ops::Range<usize>)
        (steps in proptest::collection::vec((request(), (0..30_u64, 0..30_u64, proptest::bool::weighted(0.15))), lengths))
        -> (Vec<Operation>, Sightings)
    {
        let (requests, stretches): (Vec<Request>, Vec<Stretch>) = steps.into_iter().unzip();
        let (mut history, mut sightings) = serial(&numbered(requests));
        for ((client, operation), (before, behind, lost)) in (0_u32..).zip(&mut history).zip(stretches) {
            let at = 10 * u64::from(client) + 40;
            moved(operation, at - before, at + behind);
            // At one endpoint revisions do not go back, and these clients have one each.
            operation.call.endpoint = client as usize;
            if lost {
                unknown(operation);
            }
        }
        sightings.values_mut().for_each(|sighting| sighting.at += seconds(40));
        (history, sightings)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn what_has_an_order_is_valid((history, sightings) in history_of(0..40)) {
        let (findings, story) = check(&history, &sightings);
        prop_assert!(findings.anomalies.is_empty() && findings.undecided.is_empty(), "{:?}", findings);
        prop_assert_eq!(story.revisions.len(), sightings.len());
        let by_key = crate::by_key::check(&history);
        prop_assert!(by_key.anomalies.is_empty() && by_key.undecided.is_empty(), "{:?}", by_key);
        // With less to go by it may be undecided, but not wrong.
        let (findings, _) = check(&history, &Sightings::new());
        prop_assert!(findings.anomalies.is_empty(), "{:?}", findings);
    }

    #[test]
    fn what_has_a_lie_is_not((mut history, sightings) in history_of(1..30), victim in any::<Index>(), kind in 0..4) {
        let victim = victim.index(history.len());
        prop_assume!(lie(&mut history[victim], kind));
        let (findings, _) = check(&history, &sightings);
        prop_assert!(!findings.anomalies.is_empty(), "{}", history[victim]);
    }
}

/// Whether there was anything to lie about.
fn lie(operation: &mut Operation, kind: i32) -> bool {
    let Outcome::Ok { answer, .. } = &mut operation.outcome else { return false };
    let mut said = answer.told().clone();
    let is_write = answer_is_write(&said);
    match (&mut said, kind) {
        (Said::Range(range), 0) if !range.kvs.is_empty() => range.kvs[0].value = "lie".into(),
        (Said::Range(range), 1) => range.count += 1,
        (Said::Range(range), 2) if !range.kvs.is_empty() => drop(range.kvs.remove(0)),
        (Said::Put(put), 0) => {
            put.prev_kv = Some(proto::mvccpb::KeyValue { value: "lie".into(), ..Default::default() })
        }
        (Said::Delete(delete), 1) => delete.deleted += 1,
        (Said::Txn(txn), 0) => txn.succeeded = !txn.succeeded,
        (_, 3) if is_write => {
            // What was acknowledged never happened.
            let call = Call { endpoint: operation.call.endpoint, request: put("lie", "lie") };
            operation.call = call;
            return true;
        }
        _ => return false,
    }
    *answer = Answer::new(said);
    true
}

fn answer_is_write(said: &Said) -> bool {
    matches!(said, Said::Put(_))
}
