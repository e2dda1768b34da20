//! The command line, by the rules of Go's flag package.
//!
//! `-name x`, `--name x`, `-name=x` and `--name=x` are the same; a switch takes a value only after an equals sign; the
//! first word that is not a flag ends them. Scripts rely on all of it, and on the messages, so the forty lines that
//! it takes are written out: a parser with rules of its own would have to be argued with at each of them.

use super::names;
use super::setting::Kind;
use super::settings::{Refusal, Settings};
use super::table;
use super::values;

/// What etcd's program does besides being a server, and what there is instead.
const COMMANDS: [(&str, &str); 2] = [
    (
        "gateway",
        "give clients the URLs of all members, or put a balancer of TCP connections in front of the members",
    ),
    (
        "grpc-proxy",
        "clients connect to the members, or to processes of the role frontend, of which there may be any number \
         (mainstem frontend --journal-endpoints=URL)",
    ),
];

/// What the command line asks for.
pub(super) enum Asked {
    Start(Settings),
    Help,
}

pub(super) fn parse(arguments: &[String]) -> Result<Asked, Refusal> {
    let mut settings = Settings::default();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let Some(flag) = flag(argument)? else {
            if let Some((_, instead)) = COMMANDS.iter().find(|(command, _)| command == argument) {
                return Err(Refusal::Configuration(format!("there is no {argument} here: {instead}")));
            }
            return Err(Refusal::Configuration(format!(
                "\"{argument}\" is not a valid flag: flags begin with --, and a switch takes its value after an \
                 equals sign"
            )));
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        if name == "h" || name == "help" {
            return Ok(Asked::Help);
        }
        let unknown = || Refusal::Usage(unknown(name));
        let setting = names::find(name).ok_or_else(unknown)?;
        let value = match (value, setting.kind) {
            (Some(value), _) => value.to_owned(),
            (None, Kind::Bool) => "true".to_owned(),
            (None, _) => {
                let missing = || Refusal::Usage(format!("flag needs an argument: -{name}"));
                rest.next().ok_or_else(missing)?.clone()
            }
        };
        values::check(setting.kind, &value).map_err(|reason| {
            let kind = if setting.kind == Kind::Bool { "boolean value" } else { "value" };
            let preposition = if setting.kind == Kind::Bool { "for" } else { "for flag" };
            Refusal::Usage(format!("invalid {kind} \"{value}\" {preposition} -{name}: {reason}"))
        })?;
        settings.set(setting, name, value)?;
    }
    Ok(Asked::Start(settings))
}

fn unknown(name: &str) -> String {
    let meant = table::nearest(name).map(|meant| format!("; did you mean --{meant}?")).unwrap_or_default();
    format!("flag provided but not defined: -{name}{meant}")
}

/// A flag without its dashes; `None` for any other word.
fn flag(argument: &str) -> Result<Option<&str>, Refusal> {
    let Some(name) = argument.strip_prefix('-') else { return Ok(None) };
    let name = name.strip_prefix('-').unwrap_or(name);
    match name.starts_with(['-', '=']) {
        true => Err(Refusal::Usage(format!("bad flag syntax: {argument}"))),
        false => Ok((!name.is_empty()).then_some(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Settings, Refusal> {
        let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        match parse(&arguments)? {
            Asked::Start(settings) => Ok(settings),
            Asked::Help => panic!("nobody asked for help"),
        }
    }

    #[test]
    fn dashes_and_equals_signs_are_all_the_same() {
        for line in ["-name x", "--name x", "-name=x", "--name=x"] {
            assert_eq!(parsed(line).expect(line).text("name"), "x", "{line}");
        }
    }

    #[test]
    fn a_switch_takes_a_value_only_after_an_equals_sign() {
        assert!(parsed("--socket-reuse-port --name x").expect("it is well formed").flag("socket-reuse-port"));
        assert!(!parsed("-socket-reuse-port=false").expect("it is well formed").flag("socket-reuse-port"));
    }

    #[test]
    fn a_wrong_line_is_refused_in_gos_words() {
        let check = |line: &str, expected: Refusal| assert_eq!(parsed(line).expect_err(line), expected);
        let usage = |text: &str| Refusal::Usage(text.to_owned());
        check("--nope", usage("flag provided but not defined: -nope"));
        check("--data_dir x", usage("flag provided but not defined: -data_dir; did you mean --data-dir?"));
        check("--name", usage("flag needs an argument: -name"));
        check(
            "--max-txn-ops abc",
            usage(
                "invalid value \"abc\" for flag -max-txn-ops: parse error; it takes a whole number, not below 0",
            ),
        );
        check(
            "--enable-pprof=maybe",
            usage("invalid boolean value \"maybe\" for -enable-pprof: parse error; it takes true or false"),
        );
        check("--=x", usage("bad flag syntax: --=x"));
        check("---name", usage("bad flag syntax: ---name"));
        for command in ["gateway start", "grpc-proxy start --endpoints=a:1"] {
            let text = parsed(command).expect_err("etcd has it").to_string();
            let name = command.split(' ').next().expect("it has a name");
            assert!(text.starts_with(&format!("there is no {name} here: ")), "{text}");
        }
        let more = parsed("--name x more").expect_err("it is no flag");
        assert!(
            matches!(&more, Refusal::Configuration(text) if text.starts_with("\"more\" is not a valid flag: "))
        );
    }
}
