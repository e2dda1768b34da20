//! Session of appends to one peer: the requests that Raft reads from its log, and their responses.
//!
//!     log ──► requests  1 2 3 4 ──► transport ──► peer
//!     Raft ◄─ responses 1 2 ◄────── transport ◄── peer
//!
//! A transport reads requests for as long as it can send them, also after Raft has dropped the responses: HTTP/2 ends
//! the two halves of a stream separately. But Raft purges entries as soon as no session needs them, a read of a purged
//! entry stops the node, and the requests to a peer are one sequence, from which an old session would take those of
//! the next. So the halves end together here.
//!
//! Invariant: when Raft sees the last response, nothing reads the session's requests any more. A session that ends with
//! requests that have no response ends with an error, since Raft repeats its last command otherwise, whose entries
//! may be purged.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use openraft::errors::RPCError;
use openraft::raft::{AppendEntriesRequest, StreamAppendResult};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;
use tokio_stream::Stream;

use super::{Answers, unreachable};
use crate::raft::types::Types;

type Response = Result<StreamAppendResult<Types>, RPCError<Types>>;

/// Notification that ends sessions, by peer. Bounded by the number of peers that this node has led.
#[derive(Default)]
pub(super) struct Interruptions(Mutex<BTreeMap<u64, Arc<Notify>>>);

impl Interruptions {
    /// Ends the sessions with the peer that are open.
    pub(super) fn interrupt(&self, peer: u64) {
        self.notify(peer).notify_waiters();
    }

    /// Resolves with the next interruption after this call.
    pub(super) fn next(&self, peer: u64) -> OwnedNotified {
        self.notify(peer).notified_owned()
    }

    fn notify(&self, peer: u64) -> Arc<Notify> {
        self.0.lock().entry(peer).or_default().clone()
    }
}

/// Requests for the transport, and the session that takes its responses.
pub(super) fn begin<S>(
    input: S,
    interruption: Option<OwnedNotified>,
) -> (AppendRequests<S>, AppendSession<S>) {
    let source = Arc::new(Mutex::new(Source { input: Some(input), unanswered: 0, transport: None }));
    let interruption = interruption.map(Box::pin);
    (AppendRequests(source.clone()), AppendSession { source, interruption })
}

struct Source<S> {
    /// `None` after the last request.
    input: Option<S>,
    unanswered: usize,
    /// Waits for the next request.
    transport: Option<Waker>,
}

pub(super) struct AppendRequests<S>(Arc<Mutex<Source<S>>>);

impl<S> Stream for AppendRequests<S>
where
    S: Stream<Item = AppendEntriesRequest<Types>> + Unpin,
{
    type Item = AppendEntriesRequest<Types>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let mut source = self.0.lock();
        let Some(input) = &mut source.input else { return Poll::Ready(None) };
        let request = Pin::new(input).poll_next(context);
        match &request {
            Poll::Ready(Some(_)) => source.unanswered += 1,
            Poll::Ready(None) => source.input = None,
            Poll::Pending => source.transport = Some(context.waker().clone()),
        }
        request
    }
}

/// Ends the requests when it is dropped.
pub(super) struct AppendSession<S> {
    source: Arc<Mutex<Source<S>>>,
    /// `None` in a session that is not interrupted.
    interruption: Option<Pin<Box<OwnedNotified>>>,
}

impl<S> AppendSession<S> {
    /// The responses, for Raft.
    pub(super) fn responses<'s>(self, responses: Answers<'s>) -> Answers<'s>
    where
        S: Send + 's,
    {
        Box::pin(AppendResponses { session: self, responses: Some(responses) })
    }

    fn is_interrupted(&mut self, context: &mut Context<'_>) -> bool {
        self.interruption.as_mut().is_some_and(|interruption| interruption.as_mut().poll(context).is_ready())
    }

    /// Ends the requests. Returns how many of them have no response.
    fn close(&self) -> usize {
        let (input, unanswered, transport) = {
            let mut source = self.source.lock();
            (source.input.take(), source.unanswered, source.transport.take())
        };
        drop(input);
        // It ends its half of the connection.
        transport.into_iter().for_each(Waker::wake);
        unanswered
    }
}

impl<S> Drop for AppendSession<S> {
    fn drop(&mut self) {
        self.close();
    }
}

struct AppendResponses<'s, S> {
    session: AppendSession<S>,
    /// `None` after the last response.
    responses: Option<Answers<'s>>,
}

impl<S> Stream for AppendResponses<'_, S> {
    type Item = Response;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Response>> {
        let Self { session, responses } = &mut *self;
        let Some(open) = responses else { return Poll::Ready(None) };
        let response = match session.is_interrupted(context) {
            true => Some(Err(unreachable("it is too far behind what is to be trimmed").into())),
            false => std::task::ready!(open.as_mut().poll_next(context)),
        };
        if let Some(Ok(Ok(_))) = &response {
            let mut source = session.source.lock();
            source.unanswered = source.unanswered.saturating_sub(1);
            return Poll::Ready(response);
        }
        *responses = None;
        match (session.close(), response) {
            (1.., None) => Poll::Ready(Some(Err(unreachable("the node left appends unanswered").into()))),
            (_, response) => Poll::Ready(response),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use futures_util::FutureExt;
    use openraft::base::BoxStream;
    use openraft::raft::StreamAppendError;
    use tokio_stream::StreamExt;

    use super::*;
    use crate::raft::types::{LogId, Vote};

    type Requests = BoxStream<'static, AppendEntriesRequest<Types>>;

    /// A session whose transport has taken two requests, and how many were read from the log.
    struct Session {
        requests: AppendRequests<Requests>,
        responses: Answers<'static>,
        read: Arc<AtomicU64>,
        interruptions: Interruptions,
    }

    fn session(responses: Answers<'static>) -> Session {
        let (read, interruptions) = (Arc::<AtomicU64>::default(), Interruptions::default());
        let log = read.clone();
        let input: Requests = Box::pin(tokio_stream::iter(0..9).map(move |index| {
            log.fetch_add(1, Ordering::Relaxed);
            let (vote, prev_log_id) = (Vote::new_committed(1, 1), Some(LogId::new_term_index(1, index)));
            AppendEntriesRequest { vote, prev_log_id, leader_commit: None, entries: Vec::new() }
        }));
        let (mut requests, session) = begin(input, Some(interruptions.next(2)));
        for _ in 0..2 {
            requests.next().now_or_never().flatten().expect("there are nine");
        }
        Session { requests, responses: session.responses(responses), read, interruptions }
    }

    impl Session {
        fn response(&mut self) -> Option<Option<Response>> {
            self.responses.next().now_or_never()
        }

        fn has_ended(&mut self) {
            assert!(matches!(self.requests.next().now_or_never(), Some(None)), "there are no more requests");
            assert_eq!(self.read.load(Ordering::Relaxed), 2);
        }
    }

    fn acknowledged() -> Response {
        Ok(Ok(Some(LogId::new_term_index(1, 1))))
    }

    #[test]
    fn an_interrupted_session_reads_no_more() {
        let mut session = session(Box::pin(tokio_stream::pending()));
        session.interruptions.interrupt(3);
        assert!(session.response().is_none());
        session.interruptions.interrupt(2);
        assert!(matches!(session.response(), Some(Some(Err(_)))));
        session.has_ended();
        assert!(matches!(session.response(), Some(None)));
    }

    #[test]
    fn a_session_whose_responses_are_dropped_reads_no_more() {
        let mut session = session(Box::pin(tokio_stream::pending()));
        session.responses = Box::pin(tokio_stream::empty());
        session.has_ended();
    }

    #[test]
    fn a_session_with_a_conflict_reads_no_more() {
        let conflict = Err(StreamAppendError::Conflict(LogId::new_term_index(1, 1)));
        let mut session = session(Box::pin(tokio_stream::once(Ok(conflict))));
        assert!(matches!(session.response(), Some(Some(Ok(Err(_))))));
        session.has_ended();
    }

    #[test]
    fn a_session_that_ends_without_all_responses_has_failed() {
        let mut session = session(Box::pin(tokio_stream::once(acknowledged())));
        assert!(matches!(session.response(), Some(Some(Ok(Ok(_))))));
        assert!(matches!(session.response(), Some(Some(Err(_)))));
        session.has_ended();
    }

    #[test]
    fn a_session_that_ends_with_all_responses_has_not_failed() {
        let mut session = session(Box::pin(tokio_stream::iter([acknowledged(), acknowledged()])));
        assert!(matches!(session.response(), Some(Some(Ok(Ok(_))))));
        assert!(matches!(session.response(), Some(Some(Ok(Ok(_))))));
        assert!(matches!(session.response(), Some(None)));
        session.has_ended();
    }
}
