//! Reasons why settings of etcd have no effect here, told in the warning where one of them is set.

/// Returns the reason why the setting has no effect. `None`: it has one.
pub(super) fn reason(name: &str) -> Option<&'static str> {
    Some(match name {
        "snapshot-count" => "memstores take snapshots by what was written (--snapshot-after-bytes)",
        "snapshot-catchup-entries" => {
            "a member that lags is sent what it lacks (--journal-retention-bytes keeps more for it)"
        }
        "max-wals" | "max-snapshots" => {
            "the journal is trimmed as snapshots allow it, and superseded snapshots are removed"
        }
        "auth-token-ttl" | "bcrypt-cost" => "users and roles come in a later release",
        name if name.starts_with("distributed-tracing-") => "tracing comes in a later release",
        "discovery-dial-timeout"
        | "discovery-request-timeout"
        | "discovery-keepalive-time"
        | "discovery-keepalive-timeout"
        | "discovery-insecure-transport"
        | "discovery-insecure-skip-tls-verify"
        | "discovery-cert"
        | "discovery-key"
        | "discovery-cacert"
        | "discovery-user"
        | "discovery-password"
        | "discovery-fallback"
        | "discovery-proxy" => "members are named by --initial-cluster",
        "grpc-keepalive-min-time" => "clients are answered however often they ping",
        "peer-skip-client-san-verification" => {
            "the address that a member connects from is not compared with its certificate in any case"
        }
        "client-cert-file" | "client-key-file" => "the JSON gateway calls the services in this process",
        "enable-pprof" => "profiles are taken from outside, with perf",
        "logger" => "there is one logger",
        "memory-mlock" => "there is no mapped database file; turn off swap, or limit it for the service",
        "backend-bbolt-freelist-type" | "backend-batch-interval" | "backend-batch-limit" => {
            "keys are held in memory, and writes are made durable by the journal"
        }
        "compaction-batch-limit" | "compaction-sleep-interval" => {
            "compaction frees memory in small steps that delay nobody"
        }
        "bootstrap-defrag-threshold-megabytes" | "stop-grpc-service-on-defrag" => {
            "there is no file that could be defragmented"
        }
        "pre-vote" => "members always ask before they stand for election",
        "initial-election-tick-advance" => "a start waits for no ticks",
        "raft-read-timeout" | "raft-write-timeout" => {
            "a connection between members is given up after two seconds of silence"
        }
        "downgrade-check-time" => "downgrades come in a later release",
        "v2-deprecation" | "enable-v2" => "there is no v2 store",
        "initial-corrupt-check" | "compact-hash-check-time" | "compact-hash-check-enabled" => {
            "replicas are compared while they serve (--corrupt-check-time), and one that differs is built again"
        }
        "txn-mode-write-with-shared-buffer" => "transactions are evaluated in memory",
        "set-member-localaddr" => "members are dialed from the address that the system chooses",
        _ => return None,
    })
}

/// Returns the reason why the feature gate has no effect. `None`: it has one, or what it turns on is always so.
pub(super) fn gate_reason(name: &str) -> Option<&'static str> {
    Some(match name {
        "CompactHashCheck" => reason("compact-hash-check-enabled")?,
        "InitialCorruptCheck" => reason("initial-corrupt-check")?,
        "SetMemberLocalAddr" => reason("set-member-localaddr")?,
        "StopGRPCServiceOnDefrag" => reason("stop-grpc-service-on-defrag")?,
        "TxnModeWriteWithSharedBuffer" => reason("txn-mode-write-with-shared-buffer")?,
        "FastLeaseKeepAlive" => "a keep-alive is answered by the leader alone and waits for no journal entry",
        "PriorityRequest" => "keep-alives, deletes and compactions are never refused for load",
        "AllAlpha" | "AllBeta" => "none of the gates that it stands for has one",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::setting::Effect;
    use super::super::table::SETTINGS;
    use super::*;

    #[test]
    fn every_setting_without_an_effect_has_a_reason_and_no_other() {
        for setting in SETTINGS {
            assert_eq!(reason(setting.name).is_some(), setting.effect == Effect::None, "{}", setting.name);
        }
    }
}
