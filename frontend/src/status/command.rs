//! `mainstem status`: asks a member for the document, and the others for what only they know.

use std::io::Write;
use std::time::Duration;

use bytes::Bytes;
use clap::Parser;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use journal::Dialer;
use tonic::transport::Channel;
use tower_service::Service;

use super::{Document, Health, text};
use crate::admin::Failure;
use crate::admin::reach::{self, Reach};

/// How long a member may take to answer. It asks the others itself meanwhile.
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// No document is larger: more is not read.
const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// Tells how a cluster is: its health in a sentence, what to do about it, members, partitions, alarms. Addresses of
/// --listen-metrics-urls do, too.
#[derive(Debug, Parser)]
#[command(name = "status", bin_name = "mainstem status")]
pub struct Arguments {
    #[command(flatten)]
    reach: Reach,
    /// Print the document itself.
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// Reads the arguments after the program's name. As clap does, it ends the process where they are none.
    #[must_use]
    pub fn read(arguments: &[String]) -> Arguments {
        Arguments::parse_from(arguments)
    }
}

/// Prints what there is to tell. Answers whether the cluster takes writes.
///
/// # Errors
/// Nobody answers, and why.
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, Failure> {
    let document = reach::done(gather(&arguments.reach))?;
    let page = if arguments.json { document.to_json() + "\n" } else { text::page(&document) };
    // A reader that has gone wants no more.
    let _ = out.write_all(page.as_bytes());
    Ok(document.health != Health::Unavailable)
}

async fn gather(reach: &Reach) -> Result<Document, Failure> {
    let dialer = reach.trust().dialer()?;
    let fetch = async |endpoint: &str| fetch(&dialer, &reach.trust().url(endpoint)).await;
    let (mut first, mut reasons) = (None, Vec::new());
    for endpoint in reach.endpoints() {
        match fetch(endpoint).await {
            Ok(document) => {
                first = Some(document);
                break;
            }
            Err(Failure(reason)) => reasons.push(reason),
        }
    }
    let Some(mut document) = first else {
        let reasons = reasons.join("; ");
        return Err(Failure(format!("no member answers: {reasons}; name others with --endpoints")));
    };
    let others: Vec<String> =
        document.members.iter().filter_map(|member| member.client_urls.first().cloned()).collect();
    for other in others.iter().chain(reach.endpoints()) {
        // One that does not answer keeps to itself what it knows.
        if let Ok(other) = fetch(other).await {
            document.absorb(&other);
        }
    }
    Ok(document)
}

async fn fetch(dialer: &Dialer, url: &str) -> Result<Document, Failure> {
    let channel = reach::channel(dialer, url)?;
    let asked = tokio::time::timeout(ANSWER_MAX, ask(channel)).await;
    let (status, body) = asked
        .map_err(|_| Failure(format!("{url} does not answer within {} s", ANSWER_MAX.as_secs())))?
        .map_err(|error| Failure(format!("{url} does not answer: {}", reach::root_cause(&*error))))?;
    read(status, &body).ok_or_else(|| {
        let what = if status.is_success() { "something else".to_owned() } else { status.to_string() };
        Failure(format!("{url} answers {what} instead of its status (is that a member of this release?)"))
    })
}

async fn ask(mut channel: Channel) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    std::future::poll_fn(|context| channel.poll_ready(context)).await?;
    let request = Request::get("/status.json").body(tonic::body::Body::empty())?;
    let (head, body) = channel.call(request).await?.into_parts();
    Ok((head.status, Limited::new(body, DOCUMENT_BYTES_MAX).collect().await?.to_bytes()))
}

/// The document in an answer.
fn read(status: StatusCode, body: &[u8]) -> Option<Document> {
    (status == StatusCode::OK).then(|| serde_json::from_slice(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_read() {
        let document = read(StatusCode::OK, b"{\"format\":1,\"term\":7}");
        assert_eq!(document.map(|document| document.term), Some(7));
        assert_eq!(read(StatusCode::NOT_FOUND, b"{\"format\":1,\"term\":7}"), None);
        for damaged in ["", "{\"format\"", "200", "404 page not found"] {
            assert_eq!(read(StatusCode::OK, damaged.as_bytes()), None, "{damaged}");
        }
    }

    #[test]
    fn who_cannot_be_asked_is_told_with_the_next_step() {
        let arguments = Arguments::read(&["status", "--endpoint=127.0.0.1:1"].map(str::to_owned));
        let refusal = run(&arguments, &mut Vec::new()).expect_err("nobody listens").to_string();
        assert!(
            refusal.starts_with("no member answers: http://127.0.0.1:1 does not answer: ")
                && refusal.ends_with("--endpoints"),
            "{refusal}"
        );
    }
}
