//! Binding the addresses to listen on, before anything else is started: a port that is taken is then found out
//! while nothing has been touched.

use std::io;
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::tls;
use socket2::{Domain, Protocol, Socket as RawSocket, TcpKeepalive, Type};

use super::Serves;
use crate::config::SocketAddress;

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;
/// A connection that has been silent for so long is probed as often, and closed after so many probes without an answer.
/// The values are those of Go's listeners, and so etcd's.
const KEEPALIVE_PERIOD: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 9;
/// A connection that was sent something is not probed: it is closed when nothing of that has been taken for so long,
/// which is what the probes would have taken. The system's own limit is a quarter of an hour.
const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(150);

/// A bound socket, not yet served.
pub(crate) struct Socket {
    pub(crate) listener: Listener,
    pub(crate) serves: Serves,
    /// Where TLS is spoken on it.
    pub(crate) tls: Option<tls::Acceptor>,
}

/// The socket itself.
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, SocketFile),
}

impl Listener {
    /// Where it is reached. `None`: by a file.
    pub(crate) fn tcp_address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            Listener::Unix(..) => None,
        }
    }
}

/// How sockets are shared with other processes, by etcd's flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reuse {
    pub(crate) port: bool,
}

/// Binds one address.
pub(crate) fn bind(address: &SocketAddress, serves: Serves, reuse: Reuse) -> io::Result<Socket> {
    let listener = match address {
        SocketAddress::Tcp(address) => Listener::Tcp(bind_tcp(*address, reuse)?),
        SocketAddress::Unix(path) => {
            let (listener, file) = bind_unix(path)?;
            Listener::Unix(listener, file)
        }
    };
    Ok(Socket { listener, serves, tls: None })
}

/// Binds a TCP address. 0.0.0.0 is all addresses of this machine, those of IPv6 among them, as in Go.
pub(crate) fn bind_tcp(address: SocketAddr, reuse: Reuse) -> io::Result<TcpListener> {
    if address.is_ipv4() && address.ip().is_unspecified() {
        let all = SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port()));
        match listen(all, reuse) {
            // The system has no IPv6.
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => {}
            bound => return bound,
        }
    }
    listen(address, reuse)
}

fn listen(address: SocketAddr, reuse: Reuse) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last run to be forgotten; Go's listeners do the same.
    socket.set_reuse_address(true)?;
    if reuse.port {
        socket.set_reuse_port(true)?;
    }
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Accepted connections inherit these.
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE_PERIOD).with_interval(KEEPALIVE_PERIOD);
    socket.set_tcp_keepalive(&keepalive.with_retries(KEEPALIVE_PROBES))?;
    socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED_MAX))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Binds a path. A socket file that nobody listens on is left over from a process that was killed.
fn bind_unix(path: &Path) -> io::Result<(UnixListener, SocketFile)> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => return Err(io::ErrorKind::AlreadyExists.into()),
        Ok(_) if UnixStream::connect(path).is_ok() => return Err(io::ErrorKind::AddrInUse.into()),
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    listener.set_nonblocking(true)?;
    Ok((listener, SocketFile(path.to_owned())))
}

/// The file of a socket, which goes when the socket closes.
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that cannot be removed is taken for a leftover by the next start.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, TcpStream};

    use socket2::SockRef;

    use super::*;

    fn any_port(ip: impl Into<std::net::IpAddr>) -> SocketAddr {
        SocketAddr::new(ip.into(), 0)
    }

    #[test]
    fn an_accepted_connection_is_probed_as_by_etcd() {
        let listener =
            bind_tcp(any_port(Ipv4Addr::LOCALHOST), Reuse::default()).expect("there is a free port");
        let client = TcpStream::connect(listener.local_addr().expect("it is bound")).expect("it listens");
        listener.set_nonblocking(false).expect("it is a socket");
        let (accepted, _) = listener.accept().expect("it was connected to");
        let socket = SockRef::from(&accepted);
        assert!(socket.keepalive().expect("it is a socket"));
        assert_eq!(socket.tcp_keepalive_time().expect("it is TCP"), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_interval().expect("it is TCP"), Duration::from_secs(15));
        assert_eq!(socket.tcp_keepalive_retries().expect("it is TCP"), 9);
        assert_eq!(socket.tcp_user_timeout().expect("it is TCP"), Some(Duration::from_secs(150)));
        drop(client);
    }

    #[test]
    fn all_addresses_are_those_of_both_families() {
        let listener =
            bind_tcp(any_port(Ipv4Addr::UNSPECIFIED), Reuse::default()).expect("there is a free port");
        let port = listener.local_addr().expect("it is bound").port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).expect("it listens");
        // A machine without IPv6 has only the other family.
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
            TcpStream::connect((Ipv6Addr::LOCALHOST, port)).expect("it listens");
        }
    }

    #[test]
    fn a_socket_file_is_taken_over_from_the_dead_and_from_nobody_else() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let path = scratch.path().join("socket");
        let bound = |path: &Path| bind_unix(path).map(|_| ()).map_err(|error| error.kind());
        let first = bind_unix(&path).expect("there is nothing");
        assert_eq!(bound(&path), Err(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(!path.exists(), "it went with the socket");
        drop(UnixListener::bind(&path).expect("there is nothing"));
        assert_eq!(bound(&path), Ok(()), "a process that was killed left it");
        std::fs::write(&path, "mine").expect("there is room");
        assert_eq!(bound(&path), Err(io::ErrorKind::AlreadyExists));
    }
}
