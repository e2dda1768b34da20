//! The environment: `ETCD_FOO_BAR` for etcd's settings, `MAINSTEM_FOO_BAR` for ours.

use super::names;
use super::settings::{Refusal, Settings};
use super::values;

/// Images of etcd say by it which etcd they hold. It is no setting, although there is a flag of this name.
const VERSION: &str = "ETCD_VERSION";

/// Adds what the environment sets. A setting that was also given as a flag is refused, as etcd does: one of the two
/// was meant, and guessing which would be wrong half of the time.
pub(super) fn merge(
    settings: &mut Settings,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(), Refusal> {
    for (variable, value) in
        variables.filter(|(name, _)| name.starts_with("ETCD_") || name.starts_with("MAINSTEM_"))
    {
        if variable == VERSION {
            settings
                .warn(format!("cannot set special environment variable {variable}={value}; it is ignored"));
            continue;
        }
        let Some((setting, name)) = names::find_variable(&variable) else {
            settings.warn(format!("unrecognized environment variable {variable}={value}; it is ignored"));
            continue;
        };
        // An empty variable sets nothing.
        if value.is_empty() {
            continue;
        }
        if settings.name_of(setting.name).is_some_and(|flag| flag == name) {
            return Err(Refusal::Configuration(format!(
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag): {variable}"
            )));
        }
        values::check(setting.kind, &value).map_err(|reason| {
            Refusal::Configuration(format!("invalid value \"{value}\" for {variable}: {reason}"))
        })?;
        settings.set(setting, name, value)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(flag: Option<(&str, &str)>, variables: &[(&str, &str)]) -> Result<Settings, Refusal> {
        let mut settings = Settings::default();
        if let Some((name, value)) = flag {
            settings.set(names::find(name).expect(name), name, value.to_owned())?;
        }
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        merge(&mut settings, variables)?;
        Ok(settings)
    }

    #[test]
    fn a_variable_sets_what_its_flag_does() {
        let settings = merged(None, &[("ETCD_MAX_TXN_OPS", "7"), ("MAINSTEM_SPLIT_KEYS", "m")]);
        let settings = settings.expect("both are known");
        assert_eq!((settings.count("max-txn-ops"), settings.text("split-keys")), (7, "m"));
    }

    #[test]
    fn a_flag_and_its_variable_together_are_refused() {
        let refusal = merged(Some(("name", "a")), &[("ETCD_NAME", "b")]).expect_err("both set the name");
        assert!(refusal.to_string().ends_with("disable flag): ETCD_NAME"));
    }

    #[test]
    fn an_unknown_variable_is_only_a_warning() {
        let variables = [("ETCD_PORT", "tcp://10.0.0.1:2379"), ("HOME", "/"), ("ETCD_VERSION", "v3.6.4")];
        let settings = merged(None, &variables).expect("it is no error");
        let warnings: Vec<String> = settings.warnings.iter().map(|warning| warning.0.clone()).collect();
        let expected = [
            "unrecognized environment variable ETCD_PORT=tcp://10.0.0.1:2379; it is ignored",
            "cannot set special environment variable ETCD_VERSION=v3.6.4; it is ignored",
        ];
        assert_eq!(warnings, expected);
        assert!(!settings.is_set("version"));
    }

    #[test]
    fn an_older_name_sets_what_its_flag_does() {
        let variables = [
            ("ETCD_EXPERIMENTAL_WATCH_PROGRESS_NOTIFY_INTERVAL", "5s"),
            ("ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION", "1s"),
        ];
        let settings = merged(None, &variables).expect("both are known");
        let seconds = |name| settings.duration(name).as_secs();
        assert_eq!((seconds("watch-progress-notify-interval"), seconds("warning-apply-duration")), (5, 1));
        assert!(settings.warnings.is_empty());
    }

    #[test]
    fn an_older_name_beside_todays_is_refused() {
        let refusal = |flag: &str, variable: &str| {
            merged(Some((flag, "1s")), &[(variable, "2s")]).expect_err("one of them was meant").to_string()
        };
        assert_eq!(
            refusal("warning-apply-duration", "ETCD_EXPERIMENTAL_WARNING_APPLY_DURATION"),
            "cannot set --experimental-warning-apply-duration and --warning-apply-duration at the same time, please \
             use --warning-apply-duration only"
        );
        assert_eq!(
            refusal("experimental-warning-unary-request-duration", "ETCD_WARNING_UNARY_REQUEST_DURATION"),
            "both --experimental-warning-unary-request-duration and --warning-unary-request-duration flags are set. \
             Use only --warning-unary-request-duration"
        );
    }

    #[test]
    fn a_value_of_the_wrong_kind_is_refused() {
        let refusal = merged(None, &[("ETCD_MAX_TXN_OPS", "abc")]).expect_err("it is no number");
        assert_eq!(
            refusal.to_string(),
            "invalid value \"abc\" for ETCD_MAX_TXN_OPS: parse error; it takes a whole number, not below 0"
        );
    }
}
