//! Which of the three tiers a process runs, and what each of them needs to be told.
//!
//!     all                     a store in one process, or a member of one; the default
//!     journal                 orders and keeps; no client comes here
//!     memstore                holds partitions for frontends elsewhere
//!     memstore,frontend       serves clients from partitions of its own
//!     frontend                serves clients from memstores elsewhere
//!
//! Whoever has no journal is told where one is, and learns everything else from there.

use super::Config;
use super::security::Tls;
use super::settings::{Refusal, Settings};
use super::values::Url;

/// The tiers of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    pub journal: bool,
    pub memstore: bool,
    pub frontend: bool,
}

impl Roles {
    pub const ALL: Roles = Roles { journal: true, memstore: true, frontend: true };
    const NONE: Roles = Roles { journal: false, memstore: false, frontend: false };

    /// A role by its name, as the first word of a command line may be one.
    pub(super) fn named(name: &str) -> Option<Roles> {
        match name {
            "all" => Some(Roles::ALL),
            "journal" => Some(Roles { journal: true, ..Roles::NONE }),
            "memstore" => Some(Roles { memstore: true, ..Roles::NONE }),
            "frontend" => Some(Roles { frontend: true, ..Roles::NONE }),
            _ => None,
        }
    }

    /// Whether its memstore serves frontends elsewhere. One beside a frontend is that frontend's own.
    #[must_use]
    pub fn serves_frontends(self) -> bool {
        self.memstore && !self.frontend
    }

    /// Whether it asks memstores of processes of their own.
    #[must_use]
    pub fn asks_memstores(self) -> bool {
        self.frontend && !self.memstore
    }

    fn parse(text: &str) -> Result<Roles, String> {
        let mut roles = Roles::NONE;
        for name in text.split(',').map(str::trim) {
            let Roles { journal, memstore, frontend } = Roles::named(name).ok_or_else(|| {
                format!(
                    "--role={text} cannot be run: {name:?} is none of journal, memstore, frontend and all"
                )
            })?;
            roles.journal |= journal;
            roles.memstore |= memstore;
            roles.frontend |= frontend;
        }
        Ok(roles)
    }
}

impl std::fmt::Display for Roles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [(self.journal, "journal"), (self.memstore, "memstore"), (self.frontend, "frontend")];
        let names: Vec<&str> = named.into_iter().filter(|(runs, _)| *runs).map(|(_, name)| name).collect();
        f.write_str(&names.join(","))
    }
}

/// Reads the roles, and refuses what does not go with them.
pub(super) fn roles(settings: &mut Settings) -> Result<Roles, Refusal> {
    let refused = |text: String| Err(Refusal::Configuration(text));
    let roles = Roles::parse(settings.text("role")).map_err(Refusal::Configuration)?;
    let endpoints = !settings.text("journal-endpoints").is_empty();
    if roles.journal && endpoints {
        return refused(format!(
            "--journal-endpoints cannot be used with --role={roles}: this process is a node of the journal itself; \
             leave one of them out, or name the other nodes by --initial-cluster"
        ));
    }
    if !roles.journal && !endpoints {
        return refused(format!(
            "--role={roles} needs a journal: give the peer URLs of some of its nodes by --journal-endpoints, such \
             as http://10.0.0.1:2380"
        ));
    }
    let for_journals = ["initial-cluster", "listen-peer-urls", "initial-advertise-peer-urls", "wal-dir"];
    let for_memstores = ["listen-memstore-urls", "advertise-memstore-urls"];
    let for_askers = ["replicas", "split-after-bytes", "split-after-writes", "corrupt-check-time"];
    let for_frontends = ["listen-client-urls", "listen-client-http-urls"];
    idle(settings, &for_journals, roles.journal, "journal");
    idle(settings, &for_memstores, roles.serves_frontends(), "memstore, without frontend");
    idle(settings, &for_frontends, roles.frontend, "frontend");
    idle(settings, &for_askers, roles.asks_memstores(), "frontend, without memstore");
    Ok(roles)
}

fn idle(settings: &mut Settings, names: &[&str], runs: bool, role: &str) {
    for name in names {
        if !runs && settings.is_set(name) {
            settings.warn(format!("--{name} has no effect here: it is for processes with the role {role}"));
        }
    }
}

/// What goes without saying for these roles.
pub(super) fn suited(roles: Roles, settings: &Settings, config: Config) -> Config {
    let advertises = roles.frontend || settings.is_set("advertise-client-urls");
    Config {
        roles,
        // A store of its own opens one port and no more, unless it is told to.
        serve_peers: config.serve_peers || roles.journal && roles != Roles::ALL,
        advertise_client: if advertises { config.advertise_client } else { Vec::new() },
        ..config
    }
}

/// Where the journal is.
pub(super) fn journal_endpoints(settings: &Settings, tls: Option<&Tls>) -> Result<Vec<String>, Refusal> {
    let reached = |url: Url| match url.secure && tls.is_none() {
        false => Ok(url.text),
        true => Err(Refusal::Configuration(format!(
            "--journal-endpoints={} needs to know whom to believe: name the authorities by --peer-trusted-ca-file, \
             and what this process proves itself with by --peer-cert-file and --peer-key-file",
            url.text
        ))),
    };
    settings.urls("journal-endpoints").into_iter().map(reached).collect()
}
