//! How settings are found: by their flags, by their variables, and by the names that older etcds had for them.

use super::setting::Setting;
use super::table::SETTINGS;

/// The setting with this name, also by one of its names in older etcds.
pub(super) fn find(name: &str) -> Option<&'static Setting> {
    let name = RENAMED.iter().find(|(old, _)| *old == name).map_or(name, |(_, new)| *new);
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// The setting of an environment variable, and the name that it stands for.
pub(super) fn find_variable(variable: &str) -> Option<(&'static Setting, &'static str)> {
    let names = SETTINGS.iter().map(|setting| (setting, setting.name));
    let renamed = RENAMED.iter().filter_map(|(old, new)| Some((find(new)?, *old)));
    names.chain(renamed).find(|(setting, name)| setting.owner.variable(name) == variable)
}

/// What settings were called before they were no longer experimental.
const RENAMED: &[(&str, &str)] = &[
    ("experimental-initial-corrupt-check", "initial-corrupt-check"),
    ("experimental-corrupt-check-time", "corrupt-check-time"),
    ("experimental-compact-hash-check-enabled", "compact-hash-check-enabled"),
    ("experimental-compact-hash-check-time", "compact-hash-check-time"),
    ("experimental-enable-lease-checkpoint", "enable-lease-checkpoint"),
    ("experimental-enable-lease-checkpoint-persist", "enable-lease-checkpoint-persist"),
    ("experimental-compaction-batch-limit", "compaction-batch-limit"),
    ("experimental-compaction-sleep-interval", "compaction-sleep-interval"),
    ("experimental-peer-skip-client-san-verification", "peer-skip-client-san-verification"),
    ("experimental-watch-progress-notify-interval", "watch-progress-notify-interval"),
    ("experimental-warning-apply-duration", "warning-apply-duration"),
    ("experimental-warning-unary-request-duration", "warning-unary-request-duration"),
    ("experimental-txn-mode-write-with-shared-buffer", "txn-mode-write-with-shared-buffer"),
    ("experimental-bootstrap-defrag-threshold-megabytes", "bootstrap-defrag-threshold-megabytes"),
    ("experimental-max-learners", "max-learners"),
    ("experimental-downgrade-check-time", "downgrade-check-time"),
    ("experimental-memory-mlock", "memory-mlock"),
    ("experimental-snapshot-catchup-entries", "snapshot-catchup-entries"),
    ("experimental-snapshot-catch-up-entries", "snapshot-catchup-entries"),
    ("experimental-stop-grpc-service-on-defrag", "stop-grpc-service-on-defrag"),
    ("experimental-set-member-localaddr", "set-member-localaddr"),
    ("experimental-enable-distributed-tracing", "enable-distributed-tracing"),
    ("experimental-distributed-tracing-address", "distributed-tracing-address"),
    ("experimental-distributed-tracing-service-name", "distributed-tracing-service-name"),
    ("experimental-distributed-tracing-instance-id", "distributed-tracing-instance-id"),
    ("experimental-distributed-tracing-sampling-rate", "distributed-tracing-sampling-rate"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_older_name_is_that_of_a_setting_and_of_no_other() {
        let names: BTreeSet<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        for (old, new) in RENAMED {
            assert!(names.contains(new) && !names.contains(old), "{old} -> {new}");
        }
    }

    #[test]
    fn an_older_name_finds_the_setting() {
        let setting = find("experimental-watch-progress-notify-interval").expect("it was renamed");
        assert_eq!(setting.name, "watch-progress-notify-interval");
        let (found, name) =
            find_variable("ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL").expect("it was renamed");
        assert_eq!((found.name, name), (setting.name, "experimental-watch-progress-notify-interval"));
    }
}
