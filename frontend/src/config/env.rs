//! The environment: `ETCD_FOO_BAR` for etcd's settings, `MAINSTEM_FOO_BAR` for ours.

use super::settings::{Refusal, Settings};
use super::table::SETTINGS;
use super::values;

/// Adds what the environment sets. A setting that was also given as a flag is refused, as etcd does: one of the two
/// was meant, and guessing which would be wrong half of the time.
pub(super) fn merge(
    settings: &mut Settings,
    variables: impl Iterator<Item = (String, String)>,
) -> Result<(), Refusal> {
    for (variable, value) in
        variables.filter(|(name, _)| name.starts_with("ETCD_") || name.starts_with("MAINSTEM_"))
    {
        let Some(setting) = SETTINGS.iter().find(|setting| setting.variable() == variable) else {
            settings.warn(format!("unrecognized environment variable {variable}={value}"));
            continue;
        };
        // An empty variable sets nothing.
        if value.is_empty() {
            continue;
        }
        if settings.is_set(setting.name) {
            return Err(Refusal::Configuration(format!(
                "conflicting environment variable is shadowed by corresponding command-line flag \
                 (either unset environment variable or disable flag): {variable}"
            )));
        }
        values::check(setting.kind, &value).map_err(|reason| {
            Refusal::Configuration(format!("invalid value \"{value}\" for {variable}: {reason}"))
        })?;
        settings.set(setting, value);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn merged(flag: Option<(&str, &str)>, variables: &[(&str, &str)]) -> Result<Settings, Refusal> {
        let mut settings = Settings::default();
        if let Some((name, value)) = flag {
            settings.set(table::find(name).expect(name), value.to_owned());
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
        let settings =
            merged(None, &[("ETCD_PORT", "tcp://10.0.0.1:2379"), ("HOME", "/")]).expect("it is no error");
        let warnings: Vec<String> = settings.warnings.into_iter().map(|warning| warning.0).collect();
        assert_eq!(warnings, ["unrecognized environment variable ETCD_PORT=tcp://10.0.0.1:2379"]);
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
