//! etcd's configuration file: YAML, with the names of the flags. Beside a file, flags and variables are ignored.
//!
//! Where flags take a text, a file may have a number or a truth value, and times are in nanoseconds. TLS is nested
//! below two names of its own.

use std::path::Path;

use serde_json::Value;

use super::setting::Kind;
use super::settings::{Refusal, Settings};
use super::table;
use super::values;

/// Where TLS settings are nested, and what their flags have in front.
const NESTED: [(&str, &str); 2] = [("client-transport-security", ""), ("peer-transport-security", "peer-")];

pub(super) fn read(path: &Path) -> Result<Settings, Refusal> {
    let refused = |what: &str, error: String| {
        let path = path.display();
        Refusal::Configuration(format!("the configuration file {path} {what}: {error}"))
    };
    let text = std::fs::read_to_string(path);
    let text = text.map_err(|error| {
        refused("cannot be read", format!("{error}; name one that is there and can be read (--config-file)"))
    })?;
    parse(&text).map_err(|error| refused("is wrong", error))
}

fn parse(text: &str) -> Result<Settings, String> {
    let document: Value = serde_saphyr::from_str(text).map_err(|error| first_line(&error.to_string()))?;
    let mut settings = Settings::default();
    match document {
        Value::Null => {}
        Value::Object(lines) => {
            for (name, value) in lines {
                line(&mut settings, &name, &value)?;
            }
        }
        _ => return Err("it is not a list of names and values, such as \"name: one\"".to_owned()),
    }
    Ok(settings)
}

/// The parser shows the place in the file behind what it says.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn line(settings: &mut Settings, name: &str, value: &Value) -> Result<(), String> {
    if let Some((_, prefix)) = NESTED.iter().find(|(nested, _)| *nested == name) {
        let Value::Object(lines) = value else { return Ok(()) };
        return lines.iter().try_for_each(|(name, value)| set(settings, &nested_name(prefix, name), value));
    }
    set(settings, name, value)
}

/// The flag of a nested line.
fn nested_name(prefix: &str, name: &str) -> String {
    match (prefix, name) {
        ("", "crl-file") => "client-crl-file".to_owned(),
        ("", "allowed-hostname") => "client-cert-allowed-hostname".to_owned(),
        ("peer-", "allowed-cn") => "peer-cert-allowed-cn".to_owned(),
        ("peer-", "skip-client-san-verification") => "peer-skip-client-san-verification".to_owned(),
        ("peer-", "allowed-hostname") => "peer-cert-allowed-hostname".to_owned(),
        _ => format!("{prefix}{name}"),
    }
}

fn set(settings: &mut Settings, name: &str, value: &Value) -> Result<(), String> {
    let Some(setting) = table::find(name) else {
        settings.warn(format!("unrecognized line \"{name}\" in the configuration file"));
        return Ok(());
    };
    let Some(text) = text(setting.kind, value) else { return Ok(()) };
    values::check(setting.kind, &text)
        .map_err(|reason| format!("invalid value \"{text}\" for {name}: {reason}"))?;
    settings.set(setting, text);
    Ok(())
}

/// A value as its flag would have it; `None` for nothing.
fn text(kind: Kind, value: &Value) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) => None,
        (_, Value::String(text)) if text.is_empty() => None,
        (_, Value::String(text)) => Some(text.clone()),
        (Kind::Duration, Value::Number(nanoseconds)) => Some(format!("{nanoseconds}ns")),
        (_, Value::Array(list)) => {
            let texts = list.iter().filter_map(|value| text(Kind::Text, value));
            Some(texts.collect::<Vec<String>>().join(","))
        }
        (_, value) => Some(value.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn values_may_be_numbers_and_times_are_nanoseconds() {
        let settings = parse(
            "name: one\nmax-txn-ops: 256\nsocket-reuse-port: true\nauto-compaction-retention: \"1\"\n\
             watch-progress-notify-interval: 5000000000\ngrpc-keepalive-interval: 10m\nlog-outputs: [stderr, a.log]\n",
        );
        let settings = settings.expect("it is well formed");
        assert_eq!((settings.text("name"), settings.count("max-txn-ops")), ("one", 256));
        assert!(settings.flag("socket-reuse-port"));
        assert_eq!(settings.duration("watch-progress-notify-interval"), Duration::from_secs(5));
        assert_eq!(settings.duration("grpc-keepalive-interval"), Duration::from_secs(600));
        assert_eq!(settings.text("log-outputs"), "stderr,a.log");
    }

    #[test]
    fn nested_tls_settings_are_found() {
        let text =
            "client-transport-security:\n  cert-file: a.crt\npeer-transport-security:\n  allowed-cn: b\n";
        let settings = parse(text).expect("it is well formed");
        assert_eq!((settings.text("cert-file"), settings.text("peer-cert-allowed-cn")), ("a.crt", "b"));
    }

    #[test]
    fn a_line_that_nobody_knows_is_a_warning() {
        let settings = parse("nope: 1\n").expect("it is well formed");
        assert_eq!(settings.warnings.len(), 1);
    }

    #[test]
    fn an_empty_file_sets_nothing() {
        assert!(!parse("").expect("it is well formed").is_set("name"));
    }

    #[test]
    fn what_is_no_yaml_is_refused() {
        assert!(parse("name: [x\n").is_err());
        assert!(parse("- a\n- b\n").is_err());
        assert_eq!(
            parse("max-txn-ops: abc\n").err().as_deref(),
            Some("invalid value \"abc\" for max-txn-ops: parse error; it takes a whole number, not below 0")
        );
    }
}
