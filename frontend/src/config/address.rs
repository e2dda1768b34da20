//! Addresses to listen on, and which of them cannot be had together.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use super::Config;
use super::settings::{Refusal, Settings};
use super::values::Url;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// As it was written.
    pub url: String,
    pub socket: SocketAddress,
    /// Whether TLS is spoken there.
    pub secure: bool,
}

/// What a socket is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SocketAddress {
    Tcp(SocketAddr),
    /// A file, of `unix://` and `unixs://`.
    Unix(PathBuf),
}

impl SocketAddress {
    /// The address in the network. `None`: it is a file.
    #[must_use]
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            SocketAddress::Tcp(address) => Some(*address),
            SocketAddress::Unix(_) => None,
        }
    }
}

impl std::fmt::Display for SocketAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SocketAddress::Tcp(address) => write!(f, "{address}"),
            SocketAddress::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

fn refused(text: String) -> Refusal {
    Refusal::Configuration(text)
}

/// The addresses of a setting.
pub(super) fn addresses(settings: &Settings, name: &'static str) -> Result<Vec<Address>, Refusal> {
    let address = |url: Url| {
        let socket = url.socket().map_err(|reason| refused(format!("--{name}: {reason}")))?;
        Ok(Address { url: url.text, socket, secure: url.secure })
    };
    settings.urls(name).into_iter().map(address).collect()
}

/// Refuses addresses that one process cannot bind together. Binding would fail as if another program had them.
pub(super) fn conflicts(config: &Config) -> Result<(), Refusal> {
    let frontend = config.roles.frontend;
    let lists = [
        ("listen-client-urls", frontend, &config.listen_client),
        ("listen-client-http-urls", frontend, &config.listen_http),
        ("listen-metrics-urls", true, &config.listen_metrics),
        ("listen-peer-urls", config.serve_peers, &config.listen_peer),
        ("listen-memstore-urls", config.roles.serves_frontends(), &config.listen_memstore),
    ];
    let mut seen: Vec<(&str, &Address)> = Vec::new();
    let listened = lists.into_iter().filter(|(_, listens, _)| *listens);
    for (name, address) in listened.flat_map(|(name, _, list)| list.iter().map(move |one| (name, one))) {
        for (other, before) in &seen {
            let same = before.socket == address.socket;
            // What a setting names twice is one socket.
            if same && *other == name || !overlap(&before.socket, &address.socket) {
                continue;
            }
            return Err(refused(match *other == name {
                true => format!(
                    "--{name}: {} and {} cannot be listened on together: one of them is all addresses of this machine; \
                     leave the other one out",
                    before.url, address.url
                ),
                false => format!(
                    "cannot bind both --{other} and --{name} on the same url {}: give each a port of its own",
                    address.url
                ),
            }));
        }
        seen.push((name, address));
    }
    Ok(())
}

/// Whether a connection to the one could be meant for the other.
fn overlap(one: &SocketAddress, other: &SocketAddress) -> bool {
    let (SocketAddress::Tcp(one), SocketAddress::Tcp(other)) = (one, other) else { return one == other };
    let is_all = |ip: IpAddr| ip.is_unspecified();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || is_all(one.ip()) || is_all(other.ip()))
}
