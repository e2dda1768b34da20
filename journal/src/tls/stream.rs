//! One connection's bytes, encrypted or not.
//!
//! An enum: the plain way costs a branch a read, and no box.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;
use tonic::transport::server::Connected;

use super::caller::Caller;
use crate::network;

/// The connection.
pub enum Stream {
    Plain(TcpStream),
    /// Boxed, because its buffers' bookkeeping is a kilobyte.
    Secure(Box<TlsStream<TcpStream>>),
    /// Over a socket of this machine's file system.
    Local(UnixStream),
    SecureLocal(Box<TlsStream<UnixStream>>),
    /// What a `Network` carries.
    Carried(Box<dyn network::Connection>),
}

impl Stream {
    /// Who is at the other end. `None`: nobody asked for a certificate.
    #[must_use]
    pub fn caller(&self) -> Option<Arc<Caller>> {
        let certificates = match self {
            Stream::Plain(_) | Stream::Local(_) | Stream::Carried(_) => return None,
            Stream::Secure(stream) => stream.get_ref().1.peer_certificates()?,
            Stream::SecureLocal(stream) => stream.get_ref().1.peer_certificates()?,
        };
        certificates.first().and_then(Caller::of).map(Arc::new)
    }
}

/// Does the same with whichever stream it is.
macro_rules! each {
    ($self:expr, $stream:ident => $does:expr) => {
        match $self {
            Stream::Plain($stream) => $does,
            Stream::Secure($stream) => $does,
            Stream::Local($stream) => $does,
            Stream::SecureLocal($stream) => $does,
            Stream::Carried($stream) => $does,
        }
    };
}

/// What services find among a request's extensions.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    pub caller: Option<Arc<Caller>>,
}

impl Connected for Stream {
    type ConnectInfo = Connection;

    fn connect_info(&self) -> Connection {
        Connection { caller: self.caller() }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_read(context, buffer))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write(context, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        each!(&mut *self, stream => Pin::new(stream).poll_write_vectored(context, slices))
    }

    fn is_write_vectored(&self) -> bool {
        each!(self, stream => stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        each!(&mut *self, stream => Pin::new(stream).poll_shutdown(context))
    }
}
