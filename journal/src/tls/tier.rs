//! Which tier a certificate is for, and what each tier may ask of another.
//!
//!     spiffe://any.domain/and/path/mainstem/journal       the last two parts of an alternative name count:
//!                                  mainstem/memstore      journal, memstore, frontend, or all;
//!                                  mainstem/frontend      several names add up
//!
//! A process whose own certificate names a tier listens to those alone whose certificate names one, too. One whose
//! certificate names none listens to everybody that its authorities vouch for.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tonic::Status;
use webpki::EndEntityCert;

use super::caller::Caller;
use super::files;
use super::settings::Settings;
use crate::error::Error;

/// The tiers that a certificate names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tiers {
    pub journal: bool,
    pub memstore: bool,
    pub frontend: bool,
}

impl Tiers {
    pub const ALL: Tiers = Tiers { journal: true, memstore: true, frontend: true };
    const JOURNAL: Tiers = Tiers { journal: true, memstore: false, frontend: false };
    const MEMSTORE: Tiers = Tiers { journal: false, memstore: true, frontend: false };
    const FRONTEND: Tiers = Tiers { journal: false, memstore: false, frontend: true };

    /// `None` where it names none.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Tiers> {
        let certificate = EndEntityCert::try_from(certificate).ok()?;
        certificate.valid_uri_names().filter_map(named).reduce(Tiers::and)
    }

    fn and(self, other: Tiers) -> Tiers {
        Tiers {
            journal: self.journal || other.journal,
            memstore: self.memstore || other.memstore,
            frontend: self.frontend || other.frontend,
        }
    }

    /// Whether all of `others` are among these.
    #[must_use]
    pub fn cover(self, others: Tiers) -> bool {
        self.and(others) == self
    }

    fn meet(self, others: Tiers) -> bool {
        self.journal && others.journal || self.memstore && others.memstore || self.frontend && others.frontend
    }
}

impl std::fmt::Display for Tiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named = [(self.journal, "journal"), (self.memstore, "memstore"), (self.frontend, "frontend")];
        let names: Vec<&str> = named.into_iter().filter_map(|(is, name)| is.then_some(name)).collect();
        f.write_str(&names.join(","))
    }
}

fn named(uri: &str) -> Option<Tiers> {
    let (before, tier) = uri.rsplit_once('/')?;
    // Another program's certificate may well be for a front end of its own.
    if !before.ends_with("/mainstem") {
        return None;
    }
    Some(match tier {
        "journal" => Tiers::JOURNAL,
        "memstore" => Tiers::MEMSTORE,
        "frontend" => Tiers::FRONTEND,
        "all" => Tiers::ALL,
        _ => return None,
    })
}

/// Who may call a service, by its name on the wire.
fn callers(service: &str) -> Tiers {
    match service {
        "mainstem.raft.v1.Raft" => Tiers::JOURNAL,
        // Memstores ask one another whether they are there.
        "mainstem.memstore.v1.Memstore" => Tiers::FRONTEND.and(Tiers::MEMSTORE),
        "mainstem.snapshots.v1.Snapshots" => Tiers::JOURNAL.and(Tiers::MEMSTORE),
        // The journal's, which all need, and what is no service at all.
        _ => Tiers::ALL,
    }
}

/// Lets in, at a process's services, whom its certificate's tier goes with.
#[derive(Debug, Default)]
pub struct Guard {
    /// What this process's own certificate names. `None`: everybody is let in.
    own: Option<Tiers>,
    /// Whose refusal was logged. There are eight kinds of callers, and a handful of services.
    told: Mutex<BTreeSet<(Option<Tiers>, &'static str)>>,
}

impl Guard {
    /// # Errors
    /// `Io`: the certificate cannot be read, or names a tier where nobody is asked for one.
    pub fn of(settings: &Settings) -> Result<Guard, Error> {
        let Some(identity) = &settings.identity else { return Ok(Guard::default()) };
        let (chain, _) = files::pair(identity)?;
        let own = chain.first().and_then(Tiers::of);
        match own {
            Some(own) if settings.trusted_ca.is_none() => Err(Error::Io(format!(
                "{} is for the tier {own}, but nobody is asked for a certificate: name the authorities to believe by \
                 --peer-trusted-ca-file, or use a certificate without a tier",
                identity.cert.display()
            ))),
            _ => Ok(Guard { own, told: Mutex::default() }),
        }
    }

    /// What this process's certificate names.
    #[must_use]
    pub fn own(&self) -> Option<Tiers> {
        self.own
    }

    /// # Errors
    /// `PermissionDenied`, which names both.
    pub fn admit(&self, caller: Option<&Caller>, service: &str) -> Result<(), Status> {
        let Some(own) = self.own else { return Ok(()) };
        let (tiers, allowed) = (caller.and_then(|caller| caller.tiers), callers(service));
        if tiers.is_some_and(|tiers| tiers.meet(allowed)) {
            return Ok(());
        }
        let who = match (caller, tiers) {
            (None, _) => "came without a certificate".to_owned(),
            (Some(_), None) => "have a certificate that names no tier".to_owned(),
            (Some(_), Some(tiers)) => format!("have a certificate for {tiers}"),
        };
        let text = format!(
            "this process is {own}, and answers {service} to {allowed} alone; you {who}: connect by https:// with a \
             certificate whose URI ends with /mainstem/ and the tier"
        );
        if self.told.lock().insert((tiers, known(service))) {
            let name = caller.and_then(|caller| caller.common_name.as_deref()).unwrap_or_default();
            tracing::warn!(caller = name, "a process was refused: {text}");
        }
        Err(Status::permission_denied(text))
    }
}

/// A bounded set of names, whatever is asked for.
fn known(service: &str) -> &'static str {
    ["mainstem.raft.v1.Raft", "mainstem.memstore.v1.Memstore", "mainstem.snapshots.v1.Snapshots"]
        .into_iter()
        .find(|known| *known == service)
        .unwrap_or("mainstem.journal.v1.Journal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tier_stands_at_the_end_of_a_name() {
        let check = |uri: &str, expected| assert_eq!(named(uri), expected, "{uri}");
        check("spiffe://example.org/mainstem/journal", Some(Tiers::JOURNAL));
        check("spiffe://example.org/prod/a/mainstem/frontend", Some(Tiers::FRONTEND));
        check("spiffe://example.org/mainstem/all", Some(Tiers::ALL));
        for other in
            ["spiffe://example.org/frontend", "spiffe://example.org/mainstem/", "mainstem/journal", "x"]
        {
            check(other, None);
        }
        check("spiffe://example.org/notmainstem/journal", None);
    }

    #[test]
    fn only_the_pairs_of_the_picture_talk() {
        let guard = Guard { own: Some(Tiers::JOURNAL), told: Mutex::default() };
        let calls = |tiers: Option<Tiers>, service: &str| {
            let caller = Caller { common_name: None, tiers };
            guard.admit(Some(&caller), service).is_ok()
        };
        let services = ["mainstem.raft.v1.Raft", "mainstem.journal.v1.Journal"];
        let services =
            [services[0], services[1], "mainstem.memstore.v1.Memstore", "mainstem.snapshots.v1.Snapshots"];
        for (tiers, expected) in [
            (Some(Tiers::JOURNAL), [true, true, false, true]),
            (Some(Tiers::MEMSTORE), [false, true, true, true]),
            (Some(Tiers::FRONTEND), [false, true, true, false]),
            (Some(Tiers::ALL), [true, true, true, true]),
            (None, [false, false, false, false]),
        ] {
            assert_eq!(services.map(|service| calls(tiers, service)), expected, "{tiers:?}");
        }
        assert!(guard.admit(None, services[1]).is_err());
        let refused =
            guard.admit(Some(&Caller { common_name: None, tiers: Some(Tiers::FRONTEND) }), services[0]);
        assert_eq!(
            refused.expect_err("it is no journal").message(),
            "this process is journal, and answers mainstem.raft.v1.Raft to journal alone; you have a certificate for \
             frontend: connect by https:// with a certificate whose URI ends with /mainstem/ and the tier"
        );
    }

    #[test]
    fn without_a_tier_of_its_own_nobody_is_asked() {
        assert!(Guard::default().admit(None, "mainstem.raft.v1.Raft").is_ok());
    }
}
