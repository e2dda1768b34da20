//! How an operator's commands reach a store: addresses that are asked one after the other.

use std::error::Error;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use journal::Dialer;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::Failure;
use super::trust::Trust;

/// Where to ask, and whom to believe.
#[derive(Clone, Debug, Args)]
pub(crate) struct Reach {
    /// Addresses, as host:port or URL, of those that serve clients. The first that answers is asked.
    #[arg(long, alias = "endpoint", global = true, default_value = "127.0.0.1:2379", value_delimiter = ',')]
    endpoints: Vec<String>,
    #[command(flatten)]
    trust: Trust,
}

impl Reach {
    /// What the first one says that answers. Each has `patience`.
    ///
    /// # Errors
    /// Why nobody did, or what was refused, for a person.
    pub(crate) async fn ask<T>(
        &self,
        patience: Duration,
        ask: impl AsyncFn(Channel) -> Result<T, Status>,
    ) -> Result<T, Failure> {
        let dialer = self.trust.dialer()?;
        let mut failure = Failure("no endpoints were given: name one by --endpoints".to_owned());
        for endpoint in &self.endpoints {
            let url = self.trust.url(endpoint);
            let channel = channel(&dialer, &url)?;
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

    pub(crate) fn endpoints(&self) -> &[String] {
        &self.endpoints
    }

    pub(crate) fn trust(&self) -> &Trust {
        &self.trust
    }
}

/// # Errors
/// This is no URL, or nobody is believed there.
pub(crate) fn channel(dialer: &Dialer, url: &str) -> Result<Channel, Failure> {
    dialer.channel(url).map_err(|error| Failure(error.to_string()))
}

/// What an error that has several layers comes from.
pub(crate) fn root_cause<'a>(mut error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    while let Some(deeper) = error.source() {
        error = deeper;
    }
    error
}

/// Does what was asked for, on this thread.
///
/// # Errors
/// Why not, for a person.
pub(crate) fn done<T>(asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure(error.to_string()))?.block_on(asked)
}

/// Does what was asked for, and prints what there is to tell.
///
/// # Errors
/// Why not, for a person.
pub(super) fn tell(
    out: &mut impl Write,
    asked: impl Future<Output = Result<String, Failure>>,
) -> Result<(), Failure> {
    out.write_all(done(asked)?.as_bytes()).map_err(|error| Failure(error.to_string()))
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
        Some(source) => format!(
            "{url} does not answer: {}; check --endpoints, which takes the addresses of frontends",
            root_cause(source)
        ),
    }
}
