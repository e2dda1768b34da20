//! `--feature-gates`: etcd's features by name, which of them are on, and what that means here.
//!
//! A gate of etcd switches how etcd works inside. Here nearly all of it is always so, or has no counterpart; the gates
//! are read so that people's settings are taken or refused as etcd does, and so that the metric tells what was set.

use std::collections::BTreeMap;

use super::idle;
use super::settings::{Refusal, Settings};
use super::values;
use crate::version::Version;

/// How finished etcd takes a feature for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Alpha,
    Beta,
}

/// A gate as etcd has it.
struct Known {
    name: &'static str,
    stage: Stage,
    default: bool,
    /// The minor version of etcd 3 that has it first.
    since: u32,
    /// The setting that was a flag before there was the gate.
    setting: Option<&'static str>,
    /// What it turns on is always so here.
    is_always: bool,
}

const fn alpha(name: &'static str, setting: Option<&'static str>) -> Known {
    Known { name, stage: Stage::Alpha, default: false, since: 6, setting, is_always: false }
}

const ALL_ALPHA: &str = "AllAlpha";
const ALL_BETA: &str = "AllBeta";

/// Those of etcd 3.6 and 3.7, in the order of their names. All of them are taken, whatever version is reported: files
/// are shared between versions.
const KNOWN: [Known; 11] = [
    alpha(ALL_ALPHA, None),
    Known { stage: Stage::Beta, ..alpha(ALL_BETA, None) },
    alpha("CompactHashCheck", Some("compact-hash-check-enabled")),
    Known { stage: Stage::Beta, default: true, since: 7, ..alpha("FastLeaseKeepAlive", None) },
    alpha("InitialCorruptCheck", Some("initial-corrupt-check")),
    Known { is_always: true, ..alpha(LEASE_CHECKPOINT, Some("enable-lease-checkpoint")) },
    Known { is_always: true, ..alpha(LEASE_CHECKPOINT_PERSIST, Some("enable-lease-checkpoint-persist")) },
    Known { since: 7, ..alpha("PriorityRequest", None) },
    alpha("SetMemberLocalAddr", Some("set-member-localaddr")),
    alpha("StopGRPCServiceOnDefrag", Some("stop-grpc-service-on-defrag")),
    Known {
        stage: Stage::Beta,
        default: true,
        ..alpha("TxnModeWriteWithSharedBuffer", Some("txn-mode-write-with-shared-buffer"))
    },
];

const LEASE_CHECKPOINT: &str = "LeaseCheckpoint";
const LEASE_CHECKPOINT_PERSIST: &str = "LeaseCheckpointPersist";

/// The gates that etcd of the reported version has, and those that were set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeatureGates(pub Vec<FeatureGate>);

/// A gate as the metric tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureGate {
    pub name: &'static str,
    /// ALPHA or BETA.
    pub stage: &'static str,
    pub is_on: bool,
}

impl FeatureGates {
    /// Whether a text sets gates that there are.
    ///
    /// # Errors
    /// What is wrong, in etcd's words.
    pub(super) fn check(text: &str) -> Result<(), String> {
        parse(text).map(drop)
    }

    /// What the settings say, and the warnings.
    pub(super) fn read(settings: &mut Settings, version: &Version) -> Result<FeatureGates, Refusal> {
        let text = settings.text("feature-gates").to_owned();
        let set = parse(&text).map_err(Refusal::Configuration)?;
        let mut set = with_all(&set);
        for Known { name, setting, .. } in &KNOWN {
            let Some(setting) = setting.filter(|setting| settings.is_set(setting)) else { continue };
            let flag = settings.name_of(setting).unwrap_or(setting);
            let on = settings.flag(setting);
            if text.contains(name) {
                let set = set.get(name).copied().unwrap_or_default();
                return Err(Refusal::Configuration(format!(
                    "cannot specify both flags: --{flag}={on} and --feature-gates={name}={set} at the same time, please \
                     just use --feature-gates={name}={set}"
                )));
            }
            set.insert(name, on);
        }
        let is_on = |known: &Known| set.get(known.name).copied().unwrap_or(known.default);
        let enabled = |name: &str| KNOWN.iter().any(|known| known.name == name && is_on(known));
        if enabled(LEASE_CHECKPOINT_PERSIST) && !enabled(LEASE_CHECKPOINT) {
            return Err(Refusal::Configuration(format!(
                "enabling feature gate {LEASE_CHECKPOINT_PERSIST} requires enabling feature gate {LEASE_CHECKPOINT}"
            )));
        }
        for known in KNOWN.iter().filter(|known| !known.is_always && text.contains(known.name)) {
            if is_on(known) != known.default {
                let (name, on) = (known.name, is_on(known));
                let why = idle::gate_reason(name).expect("every gate that is not always on has a reason");
                settings.warn(format!("--feature-gates={name}={on} has no effect here: {why}"));
            }
        }
        let listed =
            KNOWN.iter().filter(|known| known.since <= version.minor() || set.contains_key(known.name));
        let gate = |known: &Known| FeatureGate {
            name: known.name,
            stage: if known.stage == Stage::Beta { "BETA" } else { "ALPHA" },
            is_on: is_on(known),
        };
        Ok(FeatureGates(listed.map(gate).collect()))
    }
}

/// `A=true,B=false`, as etcd reads it.
fn parse(text: &str) -> Result<BTreeMap<&'static str, bool>, String> {
    let mut set = BTreeMap::new();
    for one in text.split(',').filter(|one| !one.is_empty()) {
        let (name, value) =
            one.split_once('=').map_or((one, None), |(name, value)| (name, Some(value.trim())));
        let name = name.trim();
        let value = value.ok_or_else(|| format!("missing bool value for {name}"))?;
        let on = values::boolean(value).ok_or_else(|| {
            format!(
                "invalid value of {name}={value}, err: strconv.ParseBool: parsing {value:?}: invalid syntax"
            )
        })?;
        let known = KNOWN.iter().find(|known| known.name == name);
        set.insert(known.ok_or_else(|| format!("unrecognized feature gate: {name}"))?.name, on);
    }
    Ok(set)
}

/// With those of a stage that all are set together, unless they are set by their own names.
fn with_all(set: &BTreeMap<&'static str, bool>) -> BTreeMap<&'static str, bool> {
    let mut all = BTreeMap::new();
    for known in &KNOWN {
        let stage = if known.stage == Stage::Beta { ALL_BETA } else { ALL_ALPHA };
        if let Some(on) = set.get(known.name).or_else(|| set.get(stage)) {
            all.insert(known.name, *on);
        }
    }
    all
}
