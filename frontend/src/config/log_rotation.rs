//! `--enable-log-rotation`: when a log file is full, and what becomes of full ones.

use std::time::Duration;

use serde_json::Value;

use super::settings::{Refusal, Settings};
use super::{LogRotation, Output};

/// etcd's default.
pub(super) const DEFAULT: &str =
    r#"{"maxsize": 100, "maxage": 0, "maxbackups": 0, "localtime": false, "compress": false}"#;

const MIB: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn refused(text: impl Into<String>) -> Refusal {
    Refusal::Configuration(text.into())
}

/// What the settings say for these outputs. `None`: nothing is rotated.
pub(super) fn read(settings: &mut Settings, outputs: &[Output]) -> Result<Option<LogRotation>, Refusal> {
    if !settings.flag("enable-log-rotation") {
        if settings.is_set("log-rotation-config-json") {
            let text = "--log-rotation-config-json has no effect here: it is for --enable-log-rotation";
            settings.warn(text.to_owned());
        }
        return Ok(None);
    }
    if outputs.iter().filter(|output| matches!(output, Output::File(_))).count() != 1 {
        return Err(refused(
            "--log-outputs requires a single file path when --log-rotate-config-json is defined: give it the one file \
             to rotate, or leave out --enable-log-rotation",
        ));
    }
    let document: Value =
        serde_json::from_str(settings.text("log-rotation-config-json")).map_err(|error| {
            refused(format!(
                "improperly formatted log rotation config: {error}; it takes JSON such as {DEFAULT}"
            ))
        })?;
    let number = |name: &str| match &document[name] {
        Value::Null => Ok(0),
        value => value.as_u64().ok_or_else(|| {
            refused(format!(
                "invalid log rotation config: {name} is {value}; it takes a whole number, not below 0"
            ))
        }),
    };
    let megabytes = match number("maxsize")? {
        0 => 100,
        megabytes => megabytes,
    };
    let days = u32::try_from(number("maxage")?).unwrap_or(u32::MAX);
    let truth = |name: &str| match &document[name] {
        Value::Null => Ok(false),
        value => value.as_bool().ok_or_else(|| {
            refused(format!("invalid log rotation config: {name} is {value}; it takes true or false"))
        }),
    };
    Ok(Some(LogRotation {
        file_bytes_max: megabytes.saturating_mul(MIB),
        files_max: Some(number("maxbackups")?).filter(|files| *files > 0),
        age_max: (days > 0).then(|| DAY.saturating_mul(days)),
        is_local: truth("localtime")?,
        compresses: truth("compress")?,
    }))
}
