//! A socket that asks for one buffer at a time.
//!
//! Offered vectored writes, h2 sends every message of more than 256 bytes in a write of its own. Without them it
//! copies messages of up to a kilobyte together, and all that the clients of a connection have to say goes out in one
//! system call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use journal::tls::Stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

pub(super) struct Transport {
    socket: Stream,
}

impl Transport {
    pub(super) fn new(socket: Stream) -> Self {
        Self { socket }
    }
}

impl AsyncRead for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(context, buffer)
    }
}

impl AsyncWrite for Transport {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(context)
    }
}
