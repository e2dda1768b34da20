//! How an operator's commands reach a store: addresses that are asked one after the other, and TLS as etcdctl's flags have it.

use std::error::Error as _;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use journal::Dialer;
use journal::tls::{KeyPair, Settings};
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Failure;

/// Where to ask, and whom to believe.
#[derive(Clone, Debug, Args)]
pub(super) struct Reach {
    /// Addresses of frontends. They are asked one after the other until one answers.
    #[arg(long, global = true, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    endpoints: Vec<String>,
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

impl Reach {
    /// What the first one says that answers. Each has `patience`.
    ///
    /// # Errors
    /// Why nobody did, or what was refused, for a person.
    pub(super) async fn ask<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFn(Channel) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        let dialer = self.dialer()?;
        let mut failure = Failure("no endpoints were given: name one by --endpoints".to_owned());
        for endpoint in &self.endpoints {
            let url = self.url(endpoint);
            let channel = dialer.channel(&url).map_err(|error| Failure(error.to_string()))?;
            let answer = tokio::time::timeout(patience, ask(channel)).await;
            match answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("it took too long"))) {
                Ok(answer) => return Ok(answer),
                // It has answered, and the next one would say the same.
                Err(status) if is_final(&status) => return Err(Failure(status.message().to_owned())),
                Err(status) => failure = Failure(complaint(&url, &status)),
            }
        }
        Err(failure)
    }

    fn url(&self, endpoint: &str) -> String {
        match endpoint.contains("://") {
            true => endpoint.to_owned(),
            false if self.cacert.is_some() || self.cert.is_some() => format!("https://{endpoint}"),
            false => format!("http://{endpoint}"),
        }
    }

    fn dialer(&self) -> Result<Dialer, Failure> {
        let identity = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some(KeyPair { cert: cert.clone(), key: key.clone() }),
            (None, None) => None,
            _ => return Err(Failure("a certificate needs its key: give both --cert and --key".to_owned())),
        };
        let settings = Settings { identity, trusted_ca: self.cacert.clone(), ..Settings::default() };
        Dialer::tls(&settings).map_err(|error| Failure(error.to_string()))
    }
}

/// Does what was asked for, and prints what there is to tell.
///
/// # Errors
/// Why not, for a person.
pub(super) fn tell(
    out: &mut impl Write,
    asked: impl Future<Output = Result<String, Failure>>,
) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure(error.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let text = runtime.block_on(asked)?;
    out.write_all(text.as_bytes()).map_err(failed)
}

fn is_final(status: &Status) -> bool {
    let refuses = [
        Code::FailedPrecondition,
        Code::Aborted,
        Code::InvalidArgument,
        Code::NotFound,
        Code::AlreadyExists,
        Code::PermissionDenied,
        Code::Unauthenticated,
    ];
    refuses.contains(&status.code())
}

/// What a connection says has a cause; what a server says has not.
fn complaint(url: &str, status: &Status) -> String {
    let why = status.message();
    match status.source() {
        None if status.code() != Code::DeadlineExceeded => format!("{url} refuses: {why}"),
        None => format!("{url} does not answer: {why}"),
        Some(source) => {
            let mut cause = source;
            while let Some(deeper) = cause.source() {
                cause = deeper;
            }
            format!(
                "{url} does not answer: {cause}; check --endpoints, which takes the addresses of frontends"
            )
        }
    }
}
