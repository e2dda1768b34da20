//! A call under way: from the service's future to the response that hyper sends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::Response;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::body::{Body, GRPC_STATUS, Stream, code};
use super::guard::Guard;
use super::leadership::Leadership;
use super::{Answer, BoxFuture};
use crate::error::Error;
use crate::metrics::rpc::Code;

/// The future of one response. Dropping it cancels the call.
pub(crate) enum Call {
    /// Answered without asking a service, or by plain HTTP.
    Ready(Option<Response<Body>>),
    Http(BoxFuture<Response<Body>>),
    Grpc(UnderWay),
}

pub(crate) struct UnderWay {
    answer: BoxFuture<Answer>,
    guard: Option<Guard>,
    deadline: Option<Pin<Box<Sleep>>>,
    ends: Ends,
}

/// What ends a stream that its service would go on with.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) stops: CancellationToken,
    /// Where the client wants a leader behind it.
    pub(crate) leadership: Option<Leadership>,
}

impl Ends {
    /// Why it ends, once it does.
    async fn cause(self) -> Error {
        let lost = async {
            match self.leadership {
                Some(leadership) => leadership.lost().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stops.cancelled() => Error::Stopped,
            () = lost => Error::NoLeader,
        }
    }
}

impl Call {
    pub(crate) fn new(
        answer: BoxFuture<Answer>,
        guard: Guard,
        timeout: Option<Duration>,
        ends: Ends,
    ) -> Call {
        let deadline = timeout.map(|timeout| Box::pin(tokio::time::sleep(timeout)));
        Call::Grpc(UnderWay { answer, guard: Some(guard), deadline, ends })
    }

    pub(crate) fn refused(status: Status) -> Call {
        Call::Ready(Some(status.into_http()))
    }
}

impl Future for Call {
    type Output = Result<Response<Body>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match &mut *self {
            Call::Ready(response) => response.take().expect("a future is not polled after its end"),
            Call::Http(response) => ready!(response.as_mut().poll(context)),
            Call::Grpc(under_way) => ready!(under_way.poll(context)),
        }))
    }
}

impl UnderWay {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Response<Body>> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(context) {
            return Poll::Ready(self.answered(answer));
        }
        if let Some(deadline) = &mut self.deadline {
            ready!(deadline.as_mut().poll(context));
            return Poll::Ready(self.late());
        }
        Poll::Pending
    }

    fn answered(&mut self, answer: Answer) -> Response<Body> {
        let mut guard = self.guard.take().expect("a future is not polled after its end");
        match answer {
            Answer::Whole(response) => {
                guard.ended(code(response.headers()));
                response
            }
            // A status among the headers: there will be nothing else.
            Answer::Streamed(response) if response.headers().contains_key(GRPC_STATUS) => {
                guard.ended(code(response.headers()));
                response.map(|_| Body::Empty)
            }
            Answer::Streamed(response) => {
                let cause = Box::pin(self.ends.clone().cause());
                response.map(|body| Body::Stream(Box::new(Stream::new(body, guard, cause))))
            }
        }
    }

    fn late(&mut self) -> Response<Body> {
        let mut guard = self.guard.take().expect("a future is not polled after its end");
        guard.ended(Code::DEADLINE_EXCEEDED);
        Status::deadline_exceeded("context deadline exceeded").into_http()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::method::MethodId;
    use crate::metrics::rpc::RpcCounters;

    fn under_way(timeout: Option<Duration>) -> (Call, std::sync::Arc<RpcCounters>, MethodId) {
        let put = MethodId::of("/etcdserverpb.KV/Put").expect("it is in the table");
        let counters = RpcCounters::new();
        let guard = Guard::begin(counters.clone(), put, Duration::MAX);
        let ends = Ends { stops: CancellationToken::new(), leadership: None };
        let call = Call::new(Box::pin(std::future::pending()), guard, timeout, ends);
        (call, counters, put)
    }

    #[tokio::test]
    async fn a_deadline_ends_a_call() {
        let (call, counters, put) = under_way(Some(Duration::from_millis(1)));
        let response = call.await.expect("a response is no error");
        let header = |name: &str| response.headers()[name].to_str().expect("it is text").to_owned();
        assert_eq!(
            (header("grpc-status"), header("grpc-message")),
            ("4".into(), "context%20deadline%20exceeded".into())
        );
        assert_eq!(counters.count(put, Code::DEADLINE_EXCEEDED), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_was_canceled() {
        let (call, counters, put) = under_way(None);
        drop(call);
        assert_eq!(counters.count(put, Code::CANCELED), 1);
    }
}
