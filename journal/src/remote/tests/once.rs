//! A node whose conversations break: what was sent to it is sent nowhere else.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use parking_lot::Mutex;
use proto::journal::journal_server::{self, JournalServer};
use proto::journal::{Answers, Questions, StatusPart, StatusRequest, TailPart, TailRequest};
use tokio::sync::oneshot;
use tonic::{Request, Response, Streaming};

use super::*;
use crate::client::Command;
use crate::member::Member;
use crate::wire::questions::{self, Asked};

/// Conversations that break, each a message later than the one before.
#[derive(Clone, Default)]
struct Breaks {
    /// How often each append came, by its number.
    came: Arc<Mutex<BTreeMap<u64, usize>>>,
    conversations: Arc<Mutex<usize>>,
}

type Parts<T> = Pin<Box<dyn tokio_stream::Stream<Item = Result<T, tonic::Status>> + Send>>;

#[tonic::async_trait]
impl journal_server::Journal for Breaks {
    type AskStream = Parts<Answers>;
    type TailStream = Parts<TailPart>;
    type StatusStream = Parts<StatusPart>;

    async fn ask(
        &self,
        request: Request<Streaming<Questions>>,
    ) -> Result<Response<Parts<Answers>>, tonic::Status> {
        let conversation = {
            let mut conversations = self.conversations.lock();
            *conversations += 1;
            *conversations
        };
        let (came, mut asked) = (self.came.clone(), request.into_inner());
        let broken = async move {
            for _ in 0..conversation {
                let Ok(Some(message)) = asked.message().await else { break };
                for question in message.questions {
                    let (_, asked) = questions::read(question).expect("a line writes what can be read");
                    let Asked::Append(append) = asked else { panic!("nothing else is asked") };
                    *came.lock().entry(append.origin.seq).or_default() += 1;
                }
            }
            Err(tonic::Status::unavailable("it breaks"))
        };
        Ok(Response::new(Box::pin(futures_util::stream::once(broken))))
    }

    async fn tail(&self, _: Request<TailRequest>) -> Result<Response<Parts<TailPart>>, tonic::Status> {
        Err(tonic::Status::unimplemented("appends alone"))
    }

    async fn status(&self, _: Request<StatusRequest>) -> Result<Response<Parts<StatusPart>>, tonic::Status> {
        Err(tonic::Status::unimplemented("appends alone"))
    }
}

async fn breaking() -> (String, Breaks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let node = Breaks::default();
    let service = JournalServer::new(node.clone());
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder();
        server.serve_with_incoming(service, TcpListenerStream::new(listener)).await
    });
    (url, node)
}

/// Also where the first URL of the node takes the call, and where an append waits for the next line.
#[tokio::test]
async fn an_append_is_sent_once_and_one_that_was_sent_is_not_called_refused() {
    let (silent, _hangs) = hanging::hanging().await;
    let (url, node) = breaking().await;
    let members = [Member { id: 1, peer_urls: vec![silent, url], ..Member::default() }];
    let (_says, status) = watch::channel(Status { cluster: 7, ..Status::default() });
    let clock = SystemClock::default();
    let mut lines = Lines::new(Dialer::plain(), status);
    let mut verdicts = Vec::new();
    let mut seq = 0;
    while *node.conversations.lock() < 4 {
        seq += 1;
        let (reply, verdict) = oneshot::channel();
        lines.pass_on(1, &members, Command::Append { append: put(seq, "key"), reply });
        verdicts.push((seq, verdict));
        clock.until(clock.now() + Duration::from_millis(1)).await;
    }
    drop(lines);
    let mut sent = 0;
    for (seq, verdict) in verdicts {
        let verdict = verdict.await.expect("every append has a verdict");
        match (verdict, node.came.lock().get(&seq)) {
            (Verdict::Unknown, None) => {}
            (Verdict::Unknown, Some(1)) => sent += 1,
            (Verdict::NotLeader { .. } | Verdict::Overloaded { .. }, None) => {}
            (verdict, came) => panic!("append {seq} came {came:?} times, and its verdict was {verdict:?}"),
        }
    }
    assert!(3 <= sent, "each conversation broke behind an append");
}
