//! Binding the addresses to listen on, before anything else is started: a port that is taken is then found out
//! while nothing has been touched.

use std::net::{SocketAddr, TcpListener};

use journal::tls;
use socket2::{Domain, Protocol, Socket as RawSocket, Type};

use super::Serves;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// A bound socket, not yet served.
pub(crate) struct Socket {
    pub(crate) listener: TcpListener,
    pub(crate) serves: Serves,
    /// Where TLS is spoken on it.
    pub(crate) tls: Option<tls::Acceptor>,
}

/// How sockets are shared with other processes, by etcd's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reuse {
    pub(crate) port: bool,
}

/// Binds one address.
pub(crate) fn bind(address: SocketAddr, serves: Serves, reuse: Reuse) -> std::io::Result<Socket> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last run to be forgotten; Go's listeners do the same.
    socket.set_reuse_address(true)?;
    if reuse.port {
        socket.set_reuse_port(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(Socket { listener: socket.into(), serves, tls: None })
}
