//! Queue of one Watch stream's responses, bounded in bytes.
//!
//!     session ──► room? ──► [ frame ][ frame ] ──► encoder ──► connection
//!                   ▲            charged │
//!                   └────────────────────┘ released once it is encoded
//!
//! The queue is at its bound as soon as what it holds reaches it: one response may be larger than all of it. Where the
//! process has little memory left, each stream holds one response.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use memstore::Memory;
use tokio::sync::{Notify, mpsc};
use tokio_stream::Stream;
use tonic::Status;

use super::codec::Frame;

/// Bytes of encoded responses that one stream may hold before it takes no more.
const FRAMES_BYTES_MAX: usize = 32 << 10;
/// Bytes that a response takes besides its events.
const FRAME_BYTES: usize = 256;

/// Bytes of the responses in one queue.
struct Account {
    bytes: AtomicUsize,
    released: Notify,
    memory: Arc<Memory>,
}

/// Share of one response in the account; returned when it is dropped.
pub(crate) struct Charge {
    bytes: usize,
    account: Arc<Account>,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        self.account.released.notify_one();
    }
}

/// Sending end, of the stream's task.
pub(super) struct FrameSender {
    account: Arc<Account>,
    // Bounded by the account.
    frames: mpsc::UnboundedSender<Result<Frame, Status>>,
}

/// Receiving end, from which the connection takes the responses. Dropping it ends the stream's task.
pub(crate) struct AnswerStream {
    frames: mpsc::UnboundedReceiver<Result<Frame, Status>>,
}

/// Creates an empty queue.
pub(super) fn channel(memory: Arc<Memory>) -> (FrameSender, AnswerStream) {
    let (sender, receiver) = mpsc::unbounded_channel();
    let account = Account { bytes: AtomicUsize::new(0), released: Notify::new(), memory };
    (FrameSender { account: Arc::new(account), frames: sender }, AnswerStream { frames: receiver })
}

impl FrameSender {
    /// Waits until the queue takes another response; answers false once the receiver is gone.
    pub(super) async fn room(&self) -> bool {
        loop {
            if self.account.has_room() {
                return !self.frames.is_closed();
            }
            tokio::select! {
                () = self.frames.closed() => return false,
                // One that came since is kept for this call: there is one waiter.
                () = self.account.released.notified() => {}
            }
        }
    }

    /// Waits until the receiver is gone.
    pub(super) async fn closed(&self) {
        self.frames.closed().await;
    }

    /// Queues a response. One that nobody takes any more is dropped.
    pub(super) fn send(&self, mut frame: Frame) {
        let bytes = FRAME_BYTES + frame.events_bytes();
        self.account.bytes.fetch_add(bytes, Ordering::AcqRel);
        frame.charge = Some(Charge { bytes, account: self.account.clone() });
        drop(self.frames.send(Ok(frame)));
    }

    /// Ends the stream.
    pub(super) fn fail(&self, status: Status) {
        drop(self.frames.send(Err(status)));
    }
}

impl Account {
    fn has_room(&self) -> bool {
        let most = if self.memory.is_close() { 1 } else { FRAMES_BYTES_MAX };
        self.bytes.load(Ordering::Acquire) < most
    }
}

impl Stream for AnswerStream {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_recv(context)
    }
}

#[cfg(test)]
mod tests {
    use journal::{LeaseId, Revision};
    use memstore::{Change, Event, EventKind, KeyValue};
    use proto::etcdserverpb::WatchResponse;
    use tokio_stream::StreamExt;

    use super::*;

    fn frame(value_bytes: usize) -> Frame {
        let kv = KeyValue {
            key: "k".into(),
            value: vec![b'v'; value_bytes].into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
            lease: LeaseId::NONE,
        };
        let change = Change { revision: Revision(2), sub: 0, kind: EventKind::Put, kv, prev: None };
        let events = vec![Arc::new(Event::new(change))];
        Frame { events, ..Frame::of(WatchResponse::default()) }
    }

    /// Answers of `room` without waiting.
    fn room(sender: &FrameSender) -> Option<bool> {
        let room = std::pin::pin!(sender.room());
        match room.poll(&mut Context::from_waker(std::task::Waker::noop())) {
            Poll::Ready(room) => Some(room),
            Poll::Pending => None,
        }
    }

    /// Responses that are taken without one being read, and their bytes.
    fn taken(memory: Memory, value_bytes: usize) -> (usize, usize) {
        let (sender, _answers) = channel(Arc::new(memory));
        let mut count = 0;
        while room(&sender) == Some(true) {
            sender.send(frame(value_bytes));
            count += 1;
        }
        (count, sender.account.bytes.load(Ordering::Relaxed))
    }

    #[test]
    fn what_nobody_reads_is_bounded_in_bytes() {
        let (count, bytes) = taken(Memory::default(), 1 << 20);
        assert_eq!(count, 1, "{bytes} bytes");
        let (count, bytes) = taken(Memory::default(), 1_000);
        assert!(count > 16 && bytes < FRAMES_BYTES_MAX + 2_000, "{count} responses of {bytes} bytes");
        let (count, bytes) = taken(Memory::default(), 0);
        assert!(
            count <= FRAMES_BYTES_MAX / FRAME_BYTES && bytes < FRAMES_BYTES_MAX + 1_000,
            "{count} of {bytes}"
        );
    }

    #[test]
    fn one_response_is_held_where_memory_is_scarce() {
        let memory = Memory::new(1_000);
        memory.see(800, 0);
        assert_eq!(taken(memory, 10).0, 1);
    }

    #[tokio::test]
    async fn a_response_that_is_read_makes_room_for_the_next() {
        let (sender, mut answers) = channel(Arc::new(Memory::default()));
        sender.send(frame(1 << 20));
        assert_eq!(room(&sender), None);
        drop(answers.next().await.expect("it was sent"));
        assert_eq!(room(&sender), Some(true));
        drop(answers);
        assert_eq!(room(&sender), Some(false), "the connection is gone");
    }
}
