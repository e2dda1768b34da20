//! What was set, and where: one map from a setting's name to its text, whichever way it came.

use std::collections::BTreeMap;

use super::idle;
use super::names;
use super::setting::{Effect, Setting};
use super::values;

/// Why a program cannot start with what it was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command line is wrong: told with the usage, exit code 2.
    Usage(String),
    /// What it says cannot be done: exit code 1.
    Configuration(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Usage(text) | Refusal::Configuration(text) => f.write_str(text),
        }
    }
}

/// Something to tell that does not prevent the start. It waits until there is a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning(pub String);

const NO_SYNC: &str = "--unsafe-no-fsync: writes are acknowledged before they are on disk, and a power failure or a \
                       crash of the machine LOSES them, or the whole store; never use it for data that matters";

/// The settings that were set.
#[derive(Clone, Debug, Default)]
pub(super) struct Settings {
    set: BTreeMap<&'static str, Value>,
    /// Read from a file, whose rules for what belongs together are less strict.
    pub(super) is_file: bool,
    pub(super) warnings: Vec<Warning>,
}

/// A setting's text, and the name that it was set by: today's, or one that older etcds had.
#[derive(Clone, Debug)]
struct Value {
    text: String,
    name: String,
}

impl Settings {
    /// Sets by `name`, which may be an older name of the setting.
    ///
    /// # Errors
    /// Where both names are used: one of the two was meant, and nothing says which.
    pub(super) fn set(&mut self, setting: &'static Setting, name: &str, text: String) -> Result<(), Refusal> {
        let value = Value { text, name: name.to_owned() };
        match self.set.insert(setting.name, value) {
            Some(before) if before.name != name => {
                let (new, old) = (setting.name, if name == setting.name { &before.name } else { name });
                Err(Refusal::Configuration(match new {
                    "warning-unary-request-duration" => {
                        format!("both --{old} and --{new} flags are set. Use only --{new}")
                    }
                    _ => format!("cannot set --{old} and --{new} at the same time, please use --{new} only"),
                }))
            }
            _ => Ok(()),
        }
    }

    /// The name that a setting was set by. `None`: it was not set.
    pub(super) fn name_of(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(|value| value.name.as_str())
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.set.contains_key(name)
    }

    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(Warning(text));
    }

    /// What was set, or the default.
    pub(super) fn text(&self, name: &'static str) -> &str {
        self.set.get(name).map_or_else(|| known(name).default, |value| value.text.as_str())
    }

    pub(super) fn flag(&self, name: &'static str) -> bool {
        values::boolean(self.text(name)).expect("values are checked as they are set")
    }

    pub(super) fn count(&self, name: &'static str) -> u64 {
        self.text(name).parse().expect("values are checked as they are set")
    }

    pub(super) fn number(&self, name: &'static str) -> i64 {
        self.text(name).parse().expect("values are checked as they are set")
    }

    pub(super) fn duration(&self, name: &'static str) -> std::time::Duration {
        values::duration(self.text(name)).expect("values are checked as they are set")
    }

    pub(super) fn urls(&self, name: &'static str) -> Vec<values::Url> {
        values::urls(self.text(name)).expect("values are checked as they are set")
    }

    /// Refuses what this release cannot do, and notes what has no effect.
    pub(super) fn judge(&mut self) -> Result<(), Refusal> {
        let mut idle_warnings = Vec::new();
        if self.flag("unsafe-no-fsync") {
            idle_warnings.push(NO_SYNC.to_owned());
        }
        for (name, Value { text: value, .. }) in &self.set {
            let setting = known(name);
            match setting.effect {
                Effect::Honoured | Effect::Always => {}
                Effect::None => {
                    let why = idle::reason(name).expect("every setting without an effect has a reason");
                    idle_warnings.push(format!("--{name} has no effect here: {why}"));
                }
                Effect::Later(_) if value == setting.default => {}
                Effect::Later(why) => {
                    return Err(Refusal::Configuration(format!("--{name}={value} cannot be done: {why}")));
                }
            }
        }
        self.warnings.extend(idle_warnings.into_iter().map(Warning));
        Ok(())
    }
}

fn known(name: &str) -> &'static Setting {
    names::find(name).expect("only settings of the table are asked for")
}
