//! Values as Go's programs write them.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::SocketAddress;
use super::feature_gates::FeatureGates;
use super::setting::Kind;

/// Whether a text is a value of this kind; the reason where not, as Go's flag package puts it, and what is taken.
pub(super) fn check(kind: Kind, text: &str) -> Result<(), String> {
    let (parses, taken) = match kind {
        Kind::Text => (true, ""),
        Kind::Bool => (boolean(text).is_some(), "true or false"),
        Kind::Count => (text.parse::<u64>().is_ok(), "a whole number, not below 0"),
        Kind::Number => (text.parse::<i64>().is_ok(), "a whole number"),
        Kind::Duration => (duration(text).is_some(), "a time such as 250ms, 30s or 1h30m"),
        Kind::FeatureGates => return FeatureGates::check(text),
        Kind::Urls => return urls(text).map(drop),
        Kind::PeerUrls => return urls(text)?.iter().try_for_each(Url::is_of_network),
    };
    if parses { Ok(()) } else { Err(format!("parse error; it takes {taken}")) }
}

pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// 1h30m, 250ms, 0. Nothing here takes a negative one.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let amount_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (amount, after) = rest.split_at(amount_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let seconds = amount.parse::<f64>().ok()? * unit_seconds(unit)?;
        total = total.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        rest = next;
    }
    (!text.is_empty()).then_some(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "h" => 3600.0,
        "m" => 60.0,
        "s" => 1.0,
        "ms" => 1e-3,
        "us" | "µs" | "μs" => 1e-6,
        "ns" => 1e-9,
        _ => return None,
    })
}

/// Texts separated by commas, without what is around them.
pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
}

/// One address of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) text: String,
    pub(super) secure: bool,
    pub(super) host: Host,
}

/// What a URL leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Host {
    Network {
        name: String,
        port: u16,
    },
    /// A socket of this machine, by the path of its file.
    File(PathBuf),
}

/// A list of addresses, separated by commas, in etcd's form and with etcd's complaints. What stands there twice counts
/// once.
pub(super) fn urls(text: &str) -> Result<Vec<Url>, String> {
    let list = text.split(',').map(str::trim).filter(|one| !one.is_empty());
    let mut urls = Vec::new();
    for one in list {
        let one = url(one)?;
        if !urls.contains(&one) {
            urls.push(one);
        }
    }
    Ok(urls)
}

/// A URL that other members and processes connect to.
pub(super) fn peer_url(text: &str) -> Result<Url, String> {
    let url = url(text)?;
    url.is_of_network().map(|()| url)
}

pub(super) fn url(text: &str) -> Result<Url, String> {
    let no_scheme = || format!("URL scheme must be http, https, unix, or unixs: {text}");
    let (scheme, rest) = text.split_once("://").ok_or_else(no_scheme)?;
    let secure = match scheme {
        "http" | "unix" => false,
        "https" | "unixs" => true,
        _ => return Err(no_scheme()),
    };
    if scheme.starts_with("unix") {
        return match rest {
            "" => Err(format!("URL must name the file of a socket: {text}")),
            path => Ok(Url { text: text.to_owned(), secure, host: Host::File(PathBuf::from(path)) }),
        };
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() {
        return Err(format!("URL must not contain a path: {text}"));
    }
    let parts = authority.rsplit_once(':');
    let parts = parts.and_then(|(host, port)| Some((host, port.parse().ok()?)));
    let (host, port) =
        parts.ok_or_else(|| format!("URL address does not have the form \"host:port\": {text}"))?;
    let host = Host::Network { name: host.trim_matches(['[', ']']).to_owned(), port };
    Ok(Url { text: text.trim_end_matches('/').to_owned(), secure, host })
}

impl Url {
    fn is_of_network(&self) -> Result<(), String> {
        match self.host {
            Host::Network { .. } => Ok(()),
            Host::File(_) => Err(format!("URL scheme must be http or https between members: {}", self.text)),
        }
    }

    /// The socket to bind. A name is no address, with the one exception that etcd makes.
    pub(super) fn socket(&self) -> Result<SocketAddress, String> {
        let (name, port) = match &self.host {
            Host::File(path) => return Ok(SocketAddress::Unix(path.clone())),
            Host::Network { name, port } => (name, *port),
        };
        let name = if name == "localhost" { "127.0.0.1" } else { name };
        let ip: IpAddr = name.parse().map_err(|_| {
            format!("expected IP in URL for binding ({}); 0.0.0.0 is all of this machine's", self.text)
        })?;
        Ok(SocketAddress::Tcp(SocketAddr::new(ip, port)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        let check = |text: &str, expected: Option<u64>| {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        };
        check("5s", Some(5_000));
        check("1h30m", Some(5_400_000));
        check("1.5s", Some(1_500));
        check("250ms", Some(250));
        check("0", Some(0));
        check("600000000000ns", Some(600_000));
        for text in ["", "5", "-5s", "s", "5x", "5s5", "1e9s"] {
            check(text, None);
        }
    }

    #[test]
    fn addresses_are_refused_in_etcds_words() {
        let check = |text: &str, expected: &str| assert_eq!(urls(text).expect_err(text), expected);
        check("ftp://x:1", "URL scheme must be http, https, unix, or unixs: ftp://x:1");
        check("127.0.0.1:1", "URL scheme must be http, https, unix, or unixs: 127.0.0.1:1");
        check("http://127.0.0.1", "URL address does not have the form \"host:port\": http://127.0.0.1");
        check("http://127.0.0.1:2379/x", "URL must not contain a path: http://127.0.0.1:2379/x");
    }

    #[test]
    fn an_address_to_bind_is_a_number_or_localhost() {
        let address = |text: &str| urls(text).expect(text)[0].socket();
        let tcp = |text: &str| Ok(SocketAddress::Tcp(text.parse().expect("an address")));
        assert_eq!(address("http://localhost:1"), tcp("127.0.0.1:1"));
        assert_eq!(address("http://[::1]:1"), tcp("[::1]:1"));
        assert_eq!(address("unix:///run/a.sock"), Ok(SocketAddress::Unix("/run/a.sock".into())));
        assert_eq!(address("unixs://10.0.0.1:0"), Ok(SocketAddress::Unix("10.0.0.1:0".into())));
        assert_eq!(
            address("http://a.example:1"),
            Err("expected IP in URL for binding (http://a.example:1); 0.0.0.0 is all of this machine's"
                .to_owned())
        );
    }
}
