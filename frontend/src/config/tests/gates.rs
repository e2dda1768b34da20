//! Feature gates.

use super::*;

fn gates(line: &str) -> Vec<(&'static str, bool)> {
    config(line).feature_gates.0.into_iter().map(|gate| (gate.name, gate.is_on)).collect()
}

#[test]
fn feature_gates_are_etcds() {
    let on = |line: &str| -> Vec<&str> {
        gates(line).into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| name).collect()
    };
    assert_eq!(gates("").len(), 9);
    assert_eq!(on(""), ["TxnModeWriteWithSharedBuffer"]);
    assert_eq!(on("--emulated-etcd-version=3.7.3"), ["FastLeaseKeepAlive", "TxnModeWriteWithSharedBuffer"]);
    assert_eq!(on("--feature-gates=TxnModeWriteWithSharedBuffer=0,PriorityRequest=T"), ["PriorityRequest"]);
    let all = "--feature-gates=AllBeta=false,AllAlpha=true,InitialCorruptCheck=false";
    let expected = [
        "AllAlpha",
        "CompactHashCheck",
        "LeaseCheckpoint",
        "LeaseCheckpointPersist",
        "PriorityRequest",
        "SetMemberLocalAddr",
        "StopGRPCServiceOnDefrag",
    ];
    assert_eq!(on(all), expected);
    assert_eq!(
        on("--experimental-enable-lease-checkpoint"),
        ["LeaseCheckpoint", "TxnModeWriteWithSharedBuffer"]
    );
}

#[test]
fn feature_gates_are_refused_in_etcds_words() {
    let check = |line: &str, expected: &str| assert_eq!(refusal(line), expected, "{line}");
    check(
        "--feature-gates=Nope=true",
        "invalid value \"Nope=true\" for flag -feature-gates: unrecognized feature gate: Nope",
    );
    check(
        "--feature-gates=InitialCorruptCheck",
        "invalid value \"InitialCorruptCheck\" for flag -feature-gates: missing bool value for InitialCorruptCheck",
    );
    check(
        "--feature-gates=InitialCorruptCheck=maybe",
        "invalid value \"InitialCorruptCheck=maybe\" for flag -feature-gates: invalid value of \
         InitialCorruptCheck=maybe, err: strconv.ParseBool: parsing \"maybe\": invalid syntax",
    );
    check(
        "--feature-gates=LeaseCheckpointPersist=true",
        "enabling feature gate LeaseCheckpointPersist requires enabling feature gate LeaseCheckpoint",
    );
    check(
        "--feature-gates=InitialCorruptCheck=true --experimental-initial-corrupt-check=true",
        "cannot specify both flags: --experimental-initial-corrupt-check=true and \
         --feature-gates=InitialCorruptCheck=true at the same time, please just use \
         --feature-gates=InitialCorruptCheck=true",
    );
}

#[test]
fn gates_that_change_nothing_are_told_and_what_is_done_anyway_is_not() {
    let line = "--feature-gates=LeaseCheckpoint=true,CompactHashCheck=true,SetMemberLocalAddr=false";
    let start = started(Persona::Etcd, line).expect("they are known");
    let expected = "--feature-gates=CompactHashCheck=true has no effect here: replicas are compared while they serve \
                    (--corrupt-check-time), and one that differs is built again";
    assert_eq!(start.warnings, [Warning(expected.to_owned())]);
}
