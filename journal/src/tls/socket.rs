//! Accepted sockets that TLS can be spoken on: a connection of the network, or one of this machine.

use std::io;

use rustix::net::RecvFlags;
use tokio::io::{AsyncRead, AsyncWrite, Interest};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsStream;

use super::stream::Stream;

/// A socket whose first byte can be read without taking it from the stream.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Sized {
    /// The first byte, once it is there. `None`: the other side has closed.
    fn first_byte(&self) -> impl Future<Output = io::Result<Option<u8>>> + Send;

    /// Takes what has arrived, so that closing does not reset the connection.
    fn drain(&self);

    /// The connection without TLS.
    fn plain(self) -> Stream;

    /// The connection with TLS.
    fn secure(stream: TlsStream<Self>) -> Stream;
}

impl Socket for TcpStream {
    async fn first_byte(&self) -> io::Result<Option<u8>> {
        let mut first = [0];
        Ok((self.peek(&mut first).await? == 1).then_some(first[0]))
    }

    fn drain(&self) {
        // Nothing there is as good.
        let _ = self.try_read(&mut [0; 4_096]);
    }

    fn plain(self) -> Stream {
        Stream::Plain(self)
    }

    fn secure(stream: TlsStream<Self>) -> Stream {
        Stream::Secure(Box::new(stream))
    }
}

impl Socket for UnixStream {
    async fn first_byte(&self) -> io::Result<Option<u8>> {
        let peek = || {
            let mut first = [0];
            let (count, _) = rustix::net::recv(self, &mut first[..], RecvFlags::PEEK)?;
            Ok((count == 1).then_some(first[0]))
        };
        self.async_io(Interest::READABLE, peek).await
    }

    fn drain(&self) {
        // Nothing there is as good.
        let _ = self.try_read(&mut [0; 4_096]);
    }

    fn plain(self) -> Stream {
        Stream::Local(self)
    }

    fn secure(stream: TlsStream<Self>) -> Stream {
        Stream::SecureLocal(Box::new(stream))
    }
}
