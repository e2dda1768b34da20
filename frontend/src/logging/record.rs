//! One record of the log.

use std::fmt::Debug;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level};

pub(super) struct Record {
    level: &'static str,
    time: String,
    caller: String,
    message: String,
    fields: Map<String, Value>,
}

impl Record {
    pub(super) fn of(event: &Event<'_>) -> Record {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        event.record(&mut fields);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Record {
            level: level(*metadata.level()),
            time: time(now),
            caller: caller(metadata.file(), metadata.line()),
            message: fields.message,
            fields: fields.others,
        }
    }

    pub(super) fn json(&self) -> String {
        let text = |text: &str| json!(text).to_string();
        let (level, time, caller, message) =
            (text(self.level), text(&self.time), text(&self.caller), text(&self.message));
        let mut line = format!("{{\"level\":{level},\"ts\":{time},\"caller\":{caller},\"msg\":{message}");
        for (name, value) in &self.fields {
            line += &format!(",{}:{value}", text(name));
        }
        line + "}\n"
    }

    pub(super) fn console(&self) -> String {
        let Record { level, time, caller, message, .. } = self;
        let fields: Vec<String> =
            self.fields.iter().map(|(name, value)| format!("{}: {value}", json!(name))).collect();
        match fields.is_empty() {
            true => format!("{time}\t{level}\t{caller}\t{message}\n"),
            false => format!("{time}\t{level}\t{caller}\t{message}\t{{{}}}\n", fields.join(", ")),
        }
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// The last two parts of the path, without `src`.
fn caller(file: Option<&str>, line: Option<u32>) -> String {
    let parts: Vec<&str> = file.unwrap_or("unknown").split('/').filter(|part| *part != "src").collect();
    let path = parts[parts.len().saturating_sub(2)..].join("/");
    format!("{path}:{}", line.unwrap_or_default())
}

/// A moment as RFC 3339 has it, in UTC, with microseconds.
pub(super) fn time(since_epoch: Duration) -> String {
    let seconds = since_epoch.as_secs();
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = date(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    let micros = since_epoch.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// The date of a day after 1970-01-01. Counted in eras of 400 years that begin on the first of March, so that the
/// day that not every year has comes last.
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (era * 400 + year + carry, month, day)
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Map<String, Value>,
}

impl Fields {
    fn add(&mut self, field: &Field, value: Value) {
        self.others.insert(field.name().replace('_', "-"), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => self.message = format!("{value:?}"),
            _ => self.add(field, Value::from(format!("{value:?}"))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            _ => self.add(field, Value::from(value)),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, Value::from(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(fields: Value) -> Record {
        let Value::Object(fields) = fields else { panic!("fields have names") };
        Record {
            level: "info",
            time: time(Duration::from_micros(1_795_231_468_344_996)),
            caller: caller(Some("frontend/src/grpc/call.rs"), Some(7)),
            message: "it \"said\"".to_owned(),
            fields,
        }
    }

    #[test]
    fn json_has_etcds_keys_in_their_order() {
        let expected = r#"{"level":"info","ts":"2026-11-21T03:24:28.344996Z","caller":"grpc/call.rs:7","msg":"it \"said\"","port":1}"#;
        assert_eq!(record(json!({"port": 1})).json(), format!("{expected}\n"));
    }

    #[test]
    fn the_console_has_tabs() {
        let expected = "2026-11-21T03:24:28.344996Z\tinfo\tgrpc/call.rs:7\tit \"said\"";
        assert_eq!(record(json!({"port": 1})).console(), format!("{expected}\t{{\"port\": 1}}\n"));
        assert_eq!(record(json!({})).console(), format!("{expected}\n"));
    }

    #[test]
    fn dates_are_right_around_leap_days() {
        let check = |days: u64, expected| assert_eq!(date(days), expected, "{days}");
        check(0, (1970, 1, 1));
        check(59, (1970, 3, 1));
        check(11_016, (2000, 2, 29));
        check(11_017, (2000, 3, 1));
        check(20_513, (2026, 3, 1));
        check(47_540, (2100, 2, 28));
        check(47_541, (2100, 3, 1));
    }
}
