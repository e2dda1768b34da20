//! TLS as whoever types a command has it, by etcdctl's flags: whom to believe, and what to show.

use std::path::PathBuf;

use clap::Args;
use journal::Dialer;
use journal::tls::{Connector, KeyPair, Settings};

use super::Failure;

/// Whom to believe, and what to show.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Trust {
    /// Believe servers that this authority vouches for; by default those that the system believes.
    #[arg(long, global = true)]
    cacert: Option<PathBuf>,
    /// Show this certificate to servers that ask for one.
    #[arg(long, global = true)]
    cert: Option<PathBuf>,
    /// The certificate's key.
    #[arg(id = "tls-key", long = "key", global = true)]
    key: Option<PathBuf>,
}

impl Trust {
    /// The URL of an address. One that does not say whether it is encrypted is, where one of the flags is given.
    pub(crate) fn url(&self, endpoint: &str) -> String {
        match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false if self.cacert.is_some() || self.cert.is_some() => format!("https://{endpoint}"),
            false => format!("http://{endpoint}"),
        }
    }

    /// # Errors
    /// What is wrong with the files, for a person.
    pub(crate) fn dialer(&self) -> Result<Dialer, Failure> {
        Dialer::tls(&self.settings()?).map_err(|error| Failure(error.to_string()))
    }

    /// # Errors
    /// As `dialer`.
    pub(crate) fn connector(&self) -> Result<Connector, Failure> {
        Connector::new(&self.settings()?).map_err(|error| Failure(error.to_string()))
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(KeyPair { cert: cert.clone(), key: key.clone() }),
            (None, None) => None,
            _ => return Err(Failure("a certificate needs its key: give both --cert and --key".to_owned())),
        };
        Ok(Settings { identity, trusted_ca: self.cacert.clone(), ..Settings::default() })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        trust: Trust,
    }

    fn trust(line: &str) -> Trust {
        Line::parse_from(line.split(' ')).trust
    }

    #[test]
    fn who_shows_or_believes_something_means_https() {
        let url = |line, endpoint| trust(line).url(endpoint);
        assert_eq!(url("x", "a:1"), "http://a:1");
        assert_eq!(url("x --cacert ca.pem", "a:1"), "https://a:1");
        assert_eq!(url("x --cert a.pem --key a.key", "a:1"), "https://a:1");
        assert_eq!(url("x --cacert ca.pem", "http://a:1"), "http://a:1");
    }

    #[test]
    fn what_is_wrong_with_the_files_is_told() {
        let told = |line| trust(line).dialer().expect_err("there are no such files").to_string();
        assert!(told("x --cert a.pem").contains("both --cert and --key"));
        assert!(told("x --cacert /nowhere/ca.pem").contains("/nowhere/ca.pem"));
        assert!(trust("x").dialer().is_ok());
    }
}
