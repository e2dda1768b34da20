//! How connections to other processes come about where that is not over TCP: in a program that carries them itself.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

/// Reaches other processes.
pub trait Network: Debug + Send + Sync {
    /// Connects to whoever listens at this host and port. It has a deadline, and is dropped then.
    fn connect(&self, host: &str, port: u16) -> Connecting;

    /// Whoever connects to this process at `port`, from now on. `None`: they come over TCP.
    fn listen(&self, _port: u16) -> Option<Arrivals> {
        None
    }
}

/// Connections that others have begun. When it is full they wait for their turn.
pub type Arrivals = mpsc::Receiver<Box<dyn Connection>>;

/// A connection on its way. An error says why there is none.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Connection>>> + Send>>;

/// Bytes in both directions, in order.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}
