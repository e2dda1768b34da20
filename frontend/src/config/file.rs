//! etcd's configuration file: YAML, with the names of the flags. Beside a file, flags and variables are ignored.
//!
//! Where flags take a text, a file may have a number or a truth value, and times are in nanoseconds. TLS, sockets and
//! discovery are nested below names of their own.

use std::path::Path;

use serde_json::Value;
use serde_saphyr::DuplicateKeyPolicy;

use super::names;
use super::setting::Kind;
use super::settings::{Refusal, Settings};
use super::values;

/// Where settings are nested, and what their flags have in front.
const NESTED: [(&str, &str); 3] =
    [("client-transport-security", ""), ("peer-transport-security", "peer-"), ("socket-options", "socket-")];

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
    let mut settings = Settings::default();
    settings.is_file = true;
    let document = document(text, &mut settings)?;
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

/// What the text says. Of lines that stand twice the last one counts, as in etcd, which does not tell.
fn document(text: &str, settings: &mut Settings) -> Result<Value, String> {
    let read = |duplicates| {
        let options = serde_saphyr::options! { duplicate_keys: duplicates };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| first_line(&error.to_string()))
    };
    let error = match read(DuplicateKeyPolicy::Error) {
        Ok(document) => return Ok(document),
        Err(error) => error,
    };
    let document = read(DuplicateKeyPolicy::LastWins).map_err(|_| error.clone())?;
    settings.warn(format!("a line stands twice in the configuration file, and the last one counts: {error}"));
    Ok(document)
}

/// The parser shows the place in the file behind what it says.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

fn line(settings: &mut Settings, name: &str, value: &Value) -> Result<(), String> {
    if name == "discovery-config" {
        return discovery(value);
    }
    if let Some((_, prefix)) = NESTED.iter().find(|(nested, _)| *nested == name) {
        let Value::Object(lines) = value else { return Ok(()) };
        return lines.iter().try_for_each(|(name, value)| set(settings, &nested_name(prefix, name), value));
    }
    set(settings, name, value)
}

/// Without it the member would begin a cluster of its own, and with it several of them would.
fn discovery(value: &Value) -> Result<(), String> {
    let is_said = |value: Option<&Value>| match value {
        None | Some(Value::Null) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(Value::Array(list)) => !list.is_empty(),
        Some(_) => true,
    };
    let endpoints = value.get("client").and_then(|client| client.get("endpoints"));
    match is_said(endpoints.or_else(|| value.get("endpoints"))) || is_said(value.get("token")) {
        false => Ok(()),
        true => Err("discovery-config cannot be followed: discovery comes in a later release; leave it out, and name the \
                     members by initial-cluster"
            .to_owned()),
    }
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
    let Some(setting) = names::find(name) else {
        settings.warn(format!("unrecognized line \"{name}\" in the configuration file"));
        return Ok(());
    };
    let Some(text) = text(setting.kind, value) else { return Ok(()) };
    values::check(setting.kind, &text)
        .map_err(|reason| format!("invalid value \"{text}\" for {name}: {reason}"))?;
    settings.set(setting, name, text).map_err(|refusal| refusal.to_string())
}

/// A value as its flag would have it; `None` for nothing.
fn text(kind: Kind, value: &Value) -> Option<String> {
    match (kind, value) {
        (_, Value::Null) => None,
        (_, Value::String(text)) if text.is_empty() => None,
        (_, Value::String(text)) => Some(text.clone()),
        (Kind::Duration, Value::Number(nanoseconds)) => Some(format!("{}ns", whole(nanoseconds))),
        (_, Value::Number(number)) => Some(whole(number)),
        (_, Value::Array(list)) => {
            let texts = list.iter().filter_map(|value| text(Kind::Text, value));
            Some(texts.collect::<Vec<String>>().join(","))
        }
        (_, value) => Some(value.to_string()),
    }
}

/// A number as a flag takes it. Tools that write files put large ones as 8.589934592e+09.
fn whole(number: &serde_json::Number) -> String {
    /// Above it a float does not tell one integer from the next.
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() <= EXACT_MAX => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
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

    /// Helm writes large numbers so.
    #[test]
    fn a_large_number_may_be_a_float() {
        let settings = parse(
            "quota-backend-bytes: 8.589934592e+09\nwatch-progress-notify-interval: 5e+9\nmax-txn-ops: 1.28e2\n",
        );
        let settings = settings.expect("they are whole numbers");
        assert_eq!(
            (settings.number("quota-backend-bytes"), settings.count("max-txn-ops")),
            (8_589_934_592, 128)
        );
        assert_eq!(settings.duration("watch-progress-notify-interval"), Duration::from_secs(5));
        assert!(parse("max-txn-ops: 1.5\n").is_err());
    }

    /// As k3s writes it.
    #[test]
    fn nested_options_of_sockets_are_found() {
        let settings = parse("socket-options:\n  reuse-port: true\n  reuse-address: true\n");
        let settings = settings.expect("it is well formed");
        assert!(settings.flag("socket-reuse-port") && settings.warnings.is_empty());
    }

    #[test]
    fn discovery_is_refused_where_it_is_asked_for() {
        let refused = |text: &str| parse(text).err().unwrap_or_default();
        for text in [
            "discovery-config:\n  token: a\n",
            "discovery-config:\n  client:\n    endpoints: [http://a:2379]\n",
        ] {
            assert!(
                refused(text).starts_with("discovery-config cannot be followed"),
                "{text}: {}",
                refused(text)
            );
            assert!(refused(text).ends_with("name the members by initial-cluster"), "{text}");
        }
        let idle =
            "discovery-config:\n  token: \"\"\n  client:\n    endpoints: []\n    dial-timeout: 2000000000\n";
        assert_eq!(refused(idle), "");
    }

    #[test]
    fn the_last_of_two_lines_counts_and_is_told() {
        let settings = parse("name: a\nmax-txn-ops: 1\nname: b\n").expect("etcd takes it");
        assert_eq!((settings.text("name"), settings.warnings.len()), ("b", 1));
        let told = &settings.warnings[0].0;
        assert!(
            told.starts_with("a line stands twice in the configuration file, and the last one counts: ")
                && told.contains("name"),
            "{told}"
        );
    }

    #[test]
    fn older_names_are_known_and_not_taken_beside_todays() {
        let settings = parse(
            "experimental-snapshot-catch-up-entries: 5000\nexperimental-corrupt-check-time: 60000000000\n",
        );
        let settings = settings.expect("they are known");
        assert_eq!(settings.duration("corrupt-check-time"), Duration::from_secs(60));
        assert!(settings.warnings.is_empty());
        let both =
            parse("experimental-corrupt-check-time: 1\ncorrupt-check-time: 2\n").err().unwrap_or_default();
        assert!(
            both.starts_with("cannot set --experimental-corrupt-check-time and --corrupt-check-time"),
            "{both}"
        );
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
            parse("feature-gates: A=true\n").err().as_deref(),
            Some("invalid value \"A=true\" for feature-gates: unrecognized feature gate: A")
        );
        assert_eq!(
            parse("max-txn-ops: abc\n").err().as_deref(),
            Some("invalid value \"abc\" for max-txn-ops: parse error; it takes a whole number, not below 0")
        );
    }
}
