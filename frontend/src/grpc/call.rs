//! A call under way: from the service's future to the response that hyper sends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::body::{Body, GRPC_STATUS, Stream, code};
use super::compression::Compression;
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
    /// Where the client compresses.
    compression: Option<Compression>,
}

/// What ends a stream that its service would go on with.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) stops: CancellationToken,
    /// Where the client wants a leader behind it.
    pub(crate) leadership: Option<Leadership>,
    /// When the client's time is over.
    pub(crate) deadline: Option<Instant>,
}

impl Ends {
    /// Why it ends, once it does.
    async fn cause(self) -> Status {
        let lost = async {
            match self.leadership {
                Some(leadership) => leadership.lost().await,
                None => std::future::pending().await,
            }
        };
        let late = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.stops.cancelled() => Error::Stopped.into(),
            () = lost => Error::NoLeader.into(),
            () = late => late_status(),
        }
    }
}

fn late_status() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}

impl Call {
    pub(crate) fn new(
        answer: BoxFuture<Answer>,
        guard: Guard,
        ends: Ends,
        compression: Option<Compression>,
    ) -> Call {
        let deadline = ends.deadline.map(|deadline| Box::pin(tokio::time::sleep_until(deadline)));
        Call::Grpc(UnderWay { answer, guard: Some(guard), deadline, ends, compression })
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
            let response = self.answered(answer);
            return Poll::Ready(match &self.compression {
                Some(compression) => compression.compressed(response),
                None => response,
            });
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
        late_status().into_http()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use http_body_util::BodyExt;

    use super::*;
    use crate::grpc::method::MethodId;
    use crate::metrics::rpc::RpcCounters;

    fn under_way(
        path: &str,
        answer: BoxFuture<Answer>,
        timeout: Option<Duration>,
    ) -> (Call, Arc<RpcCounters>) {
        let method = MethodId::of(path).expect("it is in the table");
        let counters = RpcCounters::new();
        let guard = Guard::begin(counters.clone(), method, Duration::MAX);
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let ends = Ends { stops: CancellationToken::new(), leadership: None, deadline };
        (Call::new(answer, guard, ends, None), counters)
    }

    fn count(counters: &RpcCounters, path: &str, code: Code) -> u64 {
        counters.count(MethodId::of(path).expect("it is in the table"), code)
    }

    const PUT: &str = "/etcdserverpb.KV/Put";
    const WATCH: &str = "/etcdserverpb.Watch/Watch";

    fn late(headers: &http::HeaderMap) {
        let header = |name: &str| headers[name].to_str().expect("it is text").to_owned();
        assert_eq!(
            (header("grpc-status"), header("grpc-message")),
            ("4".into(), "context%20deadline%20exceeded".into())
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_a_call() {
        let (call, counters) = under_way(PUT, Box::pin(std::future::pending()), Some(Duration::from_secs(1)));
        late(call.await.expect("a response is no error").headers());
        assert_eq!(count(&counters, PUT, Code::DEADLINE_EXCEEDED), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_ends_a_stream() {
        let silent = http_body_util::StreamBody::new(tokio_stream::pending::<Result<_, Status>>());
        let answer = Answer::Streamed(Response::new(tonic::body::Body::new(silent)));
        let (call, counters) =
            under_way(WATCH, Box::pin(std::future::ready(answer)), Some(Duration::from_secs(1)));
        let body = call.await.expect("a response is no error").into_body();
        let body = body.collect().await.expect("it ends in trailers");
        late(body.trailers().expect("it ends in trailers"));
        assert_eq!(count(&counters, WATCH, Code::DEADLINE_EXCEEDED), 1);
    }

    #[tokio::test]
    async fn a_call_that_is_dropped_was_canceled() {
        let (call, counters) = under_way(PUT, Box::pin(std::future::pending()), None);
        drop(call);
        assert_eq!(count(&counters, PUT, Code::CANCELED), 1);
    }
}
