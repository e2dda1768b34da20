//! `mainstem status`: asks a member for the document, and the others for what only they know.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use clap::Parser;

use super::{Document, Health, text};

/// How long a member may take to take the call, and to answer. It asks the others itself meanwhile.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// No document is larger: more is not read.
const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

/// Tells how a cluster is: its health in a sentence, what to do about it, members, partitions, alarms.
#[derive(Debug, Parser)]
#[command(name = "status", bin_name = "mainstem status")]
pub struct Arguments {
    /// Where members serve clients or metrics, as host:port or http://host:port. The first that answers tells of all.
    #[arg(long, alias = "endpoint", value_delimiter = ',', default_value = "127.0.0.1:2379")]
    endpoints: Vec<String>,
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
pub fn run(arguments: &Arguments, out: &mut dyn Write) -> Result<bool, String> {
    let mut document = first(&arguments.endpoints)?;
    let others: Vec<String> =
        document.members.iter().filter_map(|member| member.client_urls.first().cloned()).collect();
    for other in others.iter().chain(&arguments.endpoints) {
        // One that does not answer keeps to itself what it knows.
        if let Ok(other) = fetch(other) {
            document.absorb(&other);
        }
    }
    let page = if arguments.json { document.to_json() + "\n" } else { text::page(&document) };
    // A reader that has gone wants no more.
    let _ = out.write_all(page.as_bytes());
    Ok(document.health != Health::Unavailable)
}

fn first(endpoints: &[String]) -> Result<Document, String> {
    let mut reasons = Vec::new();
    for endpoint in endpoints {
        match fetch(endpoint) {
            Ok(document) => return Ok(document),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(format!("no member answers: {}; name others with --endpoints", reasons.join("; ")))
}

fn fetch(endpoint: &str) -> Result<Document, String> {
    let host = match endpoint.split_once("://") {
        None => endpoint,
        Some(("http", host)) => host.trim_end_matches('/'),
        Some((scheme, _)) => {
            return Err(format!(
                "{endpoint}: `status` does not speak {scheme}: name an address of --listen-metrics-urls that is http"
            ));
        }
    };
    let failed = |error: std::io::Error| format!("{endpoint}: {error}");
    let address =
        host.to_socket_addrs().map_err(failed)?.next().ok_or(format!("{endpoint}: no such host"))?;
    let mut stream = TcpStream::connect_timeout(&address, CONNECT_MAX).map_err(failed)?;
    stream.set_read_timeout(Some(ANSWER_MAX)).map_err(failed)?;
    let request = format!("GET /status.json HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut answer = String::new();
    stream.take(DOCUMENT_BYTES_MAX).read_to_string(&mut answer).map_err(failed)?;
    read(&answer).ok_or_else(|| {
        let line = answer.lines().next().unwrap_or("nothing");
        format!("{endpoint}: it answers {line:?} instead of its status: is that a member of this release?")
    })
}

/// The document in an HTTP answer.
fn read(answer: &str) -> Option<Document> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let well = head.split_ascii_whitespace().nth(1) == Some("200");
    well.then(|| serde_json::from_str(body).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_answer_is_read() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{\"format\":1,\"term\":7}";
        assert_eq!(read(answer).map(|document| document.term), Some(7));
        for damaged in ["", "HTTP/1.1 404 Not Found\r\n\r\n{}", "HTTP/1.1 200 OK\r\n\r\n{\"format\"", "200"] {
            assert_eq!(read(damaged), None, "{damaged}");
        }
    }

    #[test]
    fn who_cannot_be_asked_is_told_with_the_next_step() {
        let refusal = fetch("https://127.0.0.1:1").expect_err("it is not spoken");
        assert!(refusal.contains("--listen-metrics-urls"), "{refusal}");
        let refusal = first(&["127.0.0.1:1".to_owned()]).expect_err("nobody listens");
        assert!(
            refusal.starts_with("no member answers: 127.0.0.1:1: ") && refusal.ends_with("--endpoints"),
            "{refusal}"
        );
    }
}
