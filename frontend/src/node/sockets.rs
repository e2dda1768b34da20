//! The sockets that a process listens on: one for each address, whatever is spoken there.
//!
//!     http://127.0.0.1:2379, https://127.0.0.1:2379    one socket, told apart by the first byte
//!     http://127.0.0.1:2379, http://127.0.0.1:2379     one socket

use std::net::SocketAddr;

use journal::tls::Acceptor;

use super::StartError;
use super::security::Security;
use crate::config::{Address, Config, SocketAddress};
use crate::listener::{Listener, Reuse, Serves, Socket, bind, bind_tcp};

/// The URLs of one socket.
pub(super) struct Shared<'a> {
    /// The first one, for messages.
    address: &'a Address,
    plain: bool,
    secure: bool,
}

impl Shared<'_> {
    /// What makes its connections secure, where that is asked for.
    pub(super) fn tls(&self, acceptor: Option<&Acceptor>) -> Option<Acceptor> {
        let acceptor = acceptor.filter(|_| self.secure).cloned();
        if self.plain { acceptor.map(Acceptor::or_plain) } else { acceptor }
    }
}

/// Brings those URLs together that are one socket's. A port that the system is to choose is another one each time.
pub(super) fn shared(addresses: &[Address]) -> Vec<Shared<'_>> {
    let mut sockets: Vec<Shared<'_>> = Vec::new();
    for address in addresses {
        let (plain, secure) = (!address.secure, address.secure);
        let is_chosen = matches!(&address.socket, SocketAddress::Tcp(socket) if socket.port() == 0);
        match sockets.iter_mut().find(|shared| !is_chosen && shared.address.socket == address.socket) {
            None => sockets.push(Shared { address, plain, secure }),
            Some(shared) => {
                shared.plain |= plain;
                shared.secure |= secure;
            }
        }
    }
    sockets
}

fn listens(config: &Config) -> impl Iterator<Item = (Shared<'_>, Serves)> {
    let for_clients = if config.listen_http.is_empty() { Serves::Everything } else { Serves::GrpcOnly };
    let all = [
        (&config.listen_client, for_clients),
        (&config.listen_http, Serves::HttpOnly),
        (&config.listen_metrics, Serves::Probes),
    ];
    let all = all.into_iter().filter(|(_, serves)| config.roles.frontend || *serves == Serves::Probes);
    all.flat_map(|(addresses, serves)| shared(addresses).into_iter().map(move |one| (one, serves)))
}

/// Binds everything that the process's roles listen on for clients and probes.
pub(super) fn bind_all(config: &Config) -> Result<Vec<Socket>, StartError> {
    let reuse = Reuse { port: config.share_port };
    let bound = listens(config).map(|(Shared { address, .. }, serves)| {
        bind(&address.socket, serves, reuse).map_err(|error| failed(address, error))
    });
    bound.collect()
}

/// Says where TLS is spoken, once there is something to speak it with. The sockets are those that were bound.
pub(super) fn secure(config: &Config, sockets: &mut [Socket], security: &Security) {
    for (socket, (shared, _)) in sockets.iter_mut().zip(listens(config)) {
        socket.tls = shared.tls(security.clients.as_ref());
    }
}

/// Binds an address for other processes of the cluster.
pub(super) fn bind_for_process(
    shared: &Shared<'_>,
    reuse: Reuse,
) -> Result<std::net::TcpListener, StartError> {
    let address = shared.address;
    let socket = shared.tcp();
    bind_tcp(socket, reuse).map_err(|error| failed(address, error))
}

impl Shared<'_> {
    /// The address for other processes, which is one of the network.
    pub(super) fn tcp(&self) -> SocketAddr {
        self.address.socket.tcp().expect("a path is refused where other processes are to connect")
    }
}

fn failed(address: &Address, error: std::io::Error) -> StartError {
    StartError::Listen { url: address.url.clone(), error }
}

/// Where clients are served.
pub(super) fn addresses(sockets: &[Socket]) -> Vec<SocketAddr> {
    for_clients(sockets).filter_map(|socket| socket.listener.tcp_address()).collect()
}

/// The same as URLs, with the ports that were chosen where 0 was asked for.
pub(super) fn urls(config: &Config, sockets: &[Socket]) -> Vec<String> {
    let listens = shared(&config.listen_client).into_iter().zip(for_clients(sockets));
    let url = |(shared, socket): (Shared<'_>, &Socket)| match (&shared.address.socket, &socket.listener) {
        (SocketAddress::Tcp(asked), Listener::Tcp(bound)) => {
            let port = bound.local_addr().map_or(asked.port(), |bound| bound.port());
            let scheme = if shared.secure { "https" } else { "http" };
            format!("{scheme}://{}", SocketAddr::new(asked.ip(), port))
        }
        _ => shared.address.url.clone(),
    };
    listens.map(url).collect()
}

fn for_clients(sockets: &[Socket]) -> impl Iterator<Item = &Socket> {
    sockets.iter().filter(|socket| matches!(socket.serves, Serves::Everything | Serves::GrpcOnly))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        let (scheme, socket) = url.split_once("://").expect("it is a URL");
        let socket = SocketAddress::Tcp(socket.parse().expect("it is an address"));
        Address { url: url.to_owned(), socket, secure: scheme == "https" }
    }

    #[test]
    fn urls_of_one_address_share_a_socket() {
        let check = |urls: &[&str], expected: &[(bool, bool)]| {
            let addresses: Vec<Address> = urls.iter().map(|url| address(url)).collect();
            let shared: Vec<_> = shared(&addresses).iter().map(|one| (one.plain, one.secure)).collect();
            assert_eq!(shared, expected, "{urls:?}");
        };
        check(&["http://127.0.0.1:1", "http://127.0.0.1:1"], &[(true, false)]);
        check(&["http://127.0.0.1:1", "https://127.0.0.1:1"], &[(true, true)]);
        check(&["http://127.0.0.1:1", "https://127.0.0.1:2"], &[(true, false), (false, true)]);
        check(&["http://127.0.0.1:0", "http://127.0.0.1:0"], &[(true, false), (true, false)]);
    }
}
