//! `--help`.

use std::fmt::Write;

use super::Persona;
use super::setting::{Effect, Owner};
use super::table::SETTINGS;

/// What can be said on the command line.
#[must_use]
pub fn usage(persona: Persona) -> String {
    let program = match persona {
        Persona::Mainstem => "mainstem",
        Persona::Etcd => "etcd",
    };
    let mut text = format!(
        "Usage:\n\n  {program} [flags]\n    Start the store, all of it in one process.\n\n  {program} --version\n    \
         Show the version.\n"
    );
    if persona == Persona::Mainstem {
        text +=
            "\n  mainstem journal|memstore|frontend [flags]\n    Start one tier of it: the same as --role.\n";
        text += "\n  mainstem status\n    Tell how a cluster is, and what to do about it.\n";
        text += "\n  mainstem partition list|split|merge|move|forget\n    Show the partitions of a running store, and change them.\n";
        text += "\n  mainstem member replace\n    Put a new member in the place of one that is gone.\n";
        text +=
            "\n  mainstem bench --help\n    Put a load on any store that speaks etcd's API, and measure.\n";
    }
    for (owner, title) in [(Owner::Mainstem, "Mainstem's own"), (Owner::Etcd, "As in etcd")] {
        write!(text, "\n{title}:\n").expect("a string takes whatever is written to it");
        for setting in SETTINGS.iter().filter(|one| one.owner == owner && one.effect == Effect::Honoured) {
            let (name, default, help) = (setting.name, setting.default, setting.help);
            writeln!(text, "  --{name} '{default}'\n    {help}")
                .expect("a string takes whatever is written to it");
        }
    }
    text += "\nEvery flag of etcd is also the variable ETCD_NAME_OF_FLAG, and every one of ours MAINSTEM_NAME_OF_FLAG.\n\
             Other flags of etcd are accepted with a warning, or refused with the reason.\n";
    text
}
