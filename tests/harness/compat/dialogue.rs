//! One watch stream with many watchers: request by request, and what comes back.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{
    WatchCancelRequest, WatchCreateRequest, WatchProgressRequest, WatchRequest, WatchResponse,
};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::outcome::blank;
use super::request::Request;
use super::subject::{Subject, agree};
use crate::clients::Clients;

/// Only a store that does not answer takes that long.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What a client says on the stream, and how many answers it waits for.
#[derive(Clone, Debug)]
pub enum Line {
    Create(WatchCreateRequest),
    /// A start below 0, which is refused at once: what would be answered to the lines before has been by then.
    Fence,
    Cancel(i64),
    Progress,
    /// No request at all.
    Empty,
    /// Waits for so many more answers.
    Hear(usize),
}

/// What happens next.
pub enum Act {
    Ask(Request),
    Say(Line),
}

/// Says the same on a stream of each store, between the same writes, and compares what is heard.
///
/// # Errors
/// When one store answers what another does not.
pub async fn converse(subjects: &[Subject], acts: &[Act]) -> Result<()> {
    let mut dialogues = Vec::new();
    for subject in subjects {
        dialogues.push(Dialogue::open(subject.clients().await?));
    }
    for (number, act) in acts.iter().enumerate() {
        let mut first: Option<Vec<WatchResponse>> = None;
        let line = match act {
            Act::Ask(request) => {
                agree(subjects, request).await.with_context(|| format!("act {number}"))?;
                continue;
            }
            Act::Say(line) => line,
        };
        for (subject, dialogue) in subjects.iter().zip(&mut dialogues) {
            let context = || format!("act {number}, {line:?}, {:?}", subject.kind);
            // The stream stays on one endpoint, and requests are asked of all.
            subject.clients().await?;
            let heard = dialogue.say(line).await.with_context(context)?;
            let expected = first.get_or_insert_with(|| heard.clone());
            ensure!(heard == *expected, "{}: {heard:#?}, not {expected:#?}", context());
        }
    }
    Ok(())
}

/// The stream.
struct Dialogue {
    requests: mpsc::Sender<WatchRequest>,
    /// A server sends no header before it has something to answer.
    opening: Option<JoinHandle<Result<Streaming<WatchResponse>, Status>>>,
    answers: Option<Streaming<WatchResponse>>,
}

impl Dialogue {
    fn open(clients: &Clients) -> Dialogue {
        let (requests, receiver) = mpsc::channel(16);
        let mut watch = clients.watch.clone();
        let opening = tokio::spawn(async move {
            watch.watch(ReceiverStream::new(receiver)).await.map(|response| response.into_inner())
        });
        Dialogue { requests, opening: Some(opening), answers: None }
    }

    /// Says `line`, and answers what is heard of it: one answer to a creation or a fence, and as many as are asked for.
    async fn say(&mut self, line: &Line) -> Result<Vec<WatchResponse>> {
        let (request_union, answers) = match line.clone() {
            Line::Create(request) => (Some(RequestUnion::CreateRequest(request)), 1),
            Line::Fence => {
                let refused = WatchCreateRequest { start_revision: -1, ..WatchCreateRequest::default() };
                (Some(RequestUnion::CreateRequest(refused)), 1)
            }
            Line::Cancel(watch_id) => (Some(RequestUnion::CancelRequest(WatchCancelRequest { watch_id })), 0),
            Line::Progress => (Some(RequestUnion::ProgressRequest(WatchProgressRequest {})), 0),
            Line::Empty => (None, 0),
            Line::Hear(answers) => return self.hear(answers).await,
        };
        self.requests.send(WatchRequest { request_union }).await?;
        self.hear(answers).await
    }

    async fn hear(&mut self, count: usize) -> Result<Vec<WatchResponse>> {
        let mut heard = Vec::with_capacity(count);
        while heard.len() < count {
            let answer = tokio::time::timeout(ANSWER_MAX, self.answer()).await;
            let mut answer = answer.with_context(|| format!("{count} answers; there were {heard:#?}"))??;
            blank(&mut answer.header);
            heard.push(answer);
        }
        // Which watcher is told first is left to chance.
        heard.sort_by_key(|answer| answer.watch_id);
        Ok(heard)
    }

    async fn answer(&mut self) -> Result<WatchResponse> {
        if let Some(opening) = self.opening.take() {
            self.answers = Some(opening.await??);
        }
        let answers = self.answers.as_mut().context("it could not be opened")?;
        answers.message().await?.context("the stream ended")
    }
}
