//! The walk against every order tried out, on histories small enough for that.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn effect() -> impl Strategy<Value = Effect> {
    let value = || 0..3_i64;
    prop_oneof![
        proptest::option::of(value()).prop_map(Effect::Is),
        value().prop_map(Effect::ExistsNot),
        value().prop_map(Effect::Write),
        (value(), value()).prop_map(|(from, to)| Effect::CompareAndSet { from, to }),
    ]
}

fn span() -> impl Strategy<Value = Span> {
    (effect(), 0..12_u64, proptest::option::weighted(0.8, 0..6_u64)).prop_map(|(effect, from, length)| Span {
        effect,
        invoked: Duration::from_secs(from),
        answered: length.map(|length| Duration::from_secs(from + length)),
    })
}

/// Puts one more operation behind those that have happened, in every way that time allows.
fn some_order(spans: &[Span], happened: u32, state: Option<i64>) -> bool {
    let left = |index: &usize| happened & (1 << index) == 0;
    let open: Vec<usize> = (0..spans.len()).filter(left).collect();
    if open.iter().all(|index| spans[*index].answered.is_none()) {
        return true;
    }
    open.iter().any(|index| {
        let too_early =
            open.iter().any(|other| spans[*other].answered.is_some_and(|at| at < spans[*index].invoked));
        !too_early
            && apply(spans[*index].effect, state)
                .is_some_and(|state| some_order(spans, happened | (1 << index), state))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]
    #[test]
    fn the_walk_says_what_trying_every_order_says(spans in proptest::collection::vec(span(), 0..8)) {
        let expected = some_order(&spans, 0, None);
        let verdict = linearize(&spans);
        prop_assert_eq!(verdict == Linearizability::Yes, expected, "{:?}", verdict);
    }
}

fn spanning(effect: Effect, from: u64, to: Option<u64>) -> Span {
    Span { effect, invoked: Duration::from_secs(from), answered: to.map(Duration::from_secs) }
}

#[test]
fn what_nothing_explains_is_named() {
    let spans = [
        spanning(Effect::Write(1), 0, Some(1)),
        spanning(Effect::Write(2), 2, Some(9)),
        spanning(Effect::Is(Some(3)), 4, Some(5)),
    ];
    let expected = Linearizability::No { span: 2, states: vec![Some(1)], open: vec![1] };
    assert_eq!(linearize(&spans), expected);
}

#[test]
fn a_bound_that_is_hit_is_no_verdict() {
    let mut spans: Vec<Span> = (0..20).map(|value| spanning(Effect::Write(value), 0, None)).collect();
    spans.push(spanning(Effect::Is(Some(77)), 1, Some(2)));
    assert!(matches!(linearize_within(&spans, 2_000), Linearizability::Unknown { .. }));
    let crowd = vec![spanning(Effect::Write(1), 0, Some(9)); 65];
    assert!(matches!(linearize(&crowd), Linearizability::Unknown { .. }));
}

#[test]
fn many_unanswered_writes_of_few_values_are_no_effort() {
    let mut spans: Vec<Span> = (0..20).map(|index| spanning(Effect::Write(index % 5), 0, None)).collect();
    spans.extend(
        (1..60_u32).map(|time| {
            spanning(Effect::Is(Some((i64::from(time) * 3) % 5)), time.into(), Some(time.into()))
        }),
    );
    let verdict = linearize_within(&spans, 100_000);
    assert!(!matches!(verdict, Linearizability::Unknown { .. }), "{verdict:?}");
}
