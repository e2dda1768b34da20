//! One Watch stream: a task that reads the client's requests and the session's answers, and a bounded
//! channel to the connection. A client that does not read stops this task and nobody else.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use journal::Revision;
use memstore::Event;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt};
use tonic::{Request, Status, Streaming};

use super::codec::{Frame, event_bytes};
use crate::answer::Position;
use crate::error::Error;
use crate::etcd::header::Identity;
use crate::etcd::status::watch_refusal;
use crate::store::Store;
use crate::watch::{Answer, Create, Refusal, Session, watched_keys};

/// Answers on their way to the connection. When full, the session waits; its watchers' cursors stay where
/// they are.
const FRAMES_MAX: usize = 16;

/// etcd's id of "all watchers of the stream", and of one that was not created.
const NO_WATCHER: i64 = -1;

/// What every stream needs.
pub(crate) struct WatchContext {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    /// A fragment's size at the most, in bytes, where the client wants fragments.
    pub(crate) fragment_bytes: usize,
    pub(crate) progress_interval: Duration,
}

/// Where the connection takes the answers from. Dropping it ends the stream's task.
pub(crate) struct AnswerStream {
    frames: mpsc::Receiver<Result<Frame, Status>>,
}

impl Stream for AnswerStream {
    type Item = Result<Frame, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.poll_recv(context)
    }
}

pub(crate) fn start(context: Arc<WatchContext>, request: Request<Streaming<WatchRequest>>) -> AnswerStream {
    let (frames, receiver) = mpsc::channel(FRAMES_MAX);
    let session = Session::new(context.store.clone());
    let task = StreamTask { context, session, frames };
    tokio::spawn(task.run(request.into_inner()));
    AnswerStream { frames: receiver }
}

struct StreamTask {
    context: Arc<WatchContext>,
    session: Session,
    frames: mpsc::Sender<Result<Frame, Status>>,
}

enum Happening {
    Request(Option<Result<WatchRequest, Status>>),
    Answer(Answer),
    Tick,
    Gone,
}

impl StreamTask {
    async fn run(mut self, mut requests: Streaming<WatchRequest>) {
        let mut ticks = tokio::time::interval(jittered(self.context.progress_interval));
        ticks.reset();
        let mut reading = true;
        loop {
            let event = tokio::select! {
                biased;
                () = self.frames.closed() => Happening::Gone,
                request = requests.next(), if reading => Happening::Request(request),
                answer = self.session.next() => Happening::Answer(answer),
                _ = ticks.tick() => Happening::Tick,
            };
            match event {
                Happening::Request(Some(Ok(request))) => self.ask(request),
                // Events keep flowing after the client has said its last word.
                Happening::Request(None) => reading = false,
                Happening::Request(Some(Err(_))) | Happening::Gone => return,
                Happening::Tick => self.session.notify_progress(),
                Happening::Answer(Answer::Closed) => {
                    // The client may have gone by itself.
                    let _ = self.frames.send(Err(Error::Stopped.into())).await;
                    return;
                }
                Happening::Answer(answer) => {
                    for frame in self.pack(answer) {
                        if self.frames.send(Ok(frame)).await.is_err() {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn ask(&mut self, request: WatchRequest) {
        match request.request_union {
            Some(RequestUnion::CreateRequest(request)) => self.create(request),
            Some(RequestUnion::CancelRequest(request)) => self.session.cancel(request.watch_id),
            Some(RequestUnion::ProgressRequest(_)) => self.session.want_progress(),
            None => {}
        }
    }

    fn create(&mut self, request: WatchCreateRequest) {
        let Ok(start) = u64::try_from(request.start_revision) else {
            self.session.refuse(Refusal::NegativeRevision);
            return;
        };
        let unwanted = |filter| request.filters.contains(&(filter as i32));
        self.session.create(Create {
            puts: !unwanted(FilterType::Noput),
            deletes: !unwanted(FilterType::Nodelete),
            from: (start > 0).then_some(Revision(start)),
            prev_kv: request.prev_kv,
            progress_notify: request.progress_notify,
            id: (request.watch_id != 0).then_some(request.watch_id),
            fragment: request.fragment,
            keys: watched_keys(request.key, request.range_end),
        });
    }

    fn pack(&self, answer: Answer) -> Vec<Frame> {
        let term = self.context.store.journal().status().borrow().term;
        let head = |revision: Revision, watch_id| WatchResponse {
            header: Some(self.context.identity.header(Position { revision, term, ..Position::default() })),
            watch_id,
            ..WatchResponse::default()
        };
        let frame = match answer {
            Answer::Created { id, revision } => WatchResponse { created: true, ..head(revision, id) },
            Answer::Refused { reason, revision } => WatchResponse {
                created: true,
                canceled: true,
                cancel_reason: watch_refusal(reason).to_owned(),
                ..head(revision, NO_WATCHER)
            },
            Answer::Canceled { id, revision } => WatchResponse { canceled: true, ..head(revision, id) },
            Answer::Compacted { id, compacted } => WatchResponse {
                canceled: true,
                compact_revision: compacted.to_wire(),
                ..head(Revision::ZERO, id)
            },
            Answer::Progress { id, revision } => head(revision, id.unwrap_or(NO_WATCHER)),
            Answer::Events { id, revision, events, prev_kv, fragment } => {
                let most = if fragment { self.context.fragment_bytes } else { usize::MAX };
                return fragments(&head(revision, id), events, prev_kv, most);
            }
            Answer::Closed => return Vec::new(),
        };
        vec![Frame::of(frame)]
    }
}

/// Cuts events into responses of at most `bytes_max`, at least one event each.
fn fragments(head: &WatchResponse, events: Vec<Arc<Event>>, prev_kv: bool, bytes_max: usize) -> Vec<Frame> {
    if bytes_max == usize::MAX {
        return vec![Frame { head: head.clone(), events, prev_kv }];
    }
    let mut frames: Vec<Frame> = Vec::new();
    let mut bytes = usize::MAX;
    for event in events {
        let more = event_bytes(&event, prev_kv);
        if bytes.saturating_add(more) > bytes_max {
            frames.push(Frame {
                head: WatchResponse { fragment: true, ..head.clone() },
                events: Vec::new(),
                prev_kv,
            });
            bytes = 0;
        }
        bytes += more;
        frames.last_mut().expect("the first event begins one").events.push(event);
    }
    if let Some(last) = frames.last_mut() {
        last.head.fragment = false;
    }
    frames
}

/// etcd spreads its notifications over a tenth more than the interval, so that streams don't tick together.
fn jittered(interval: Duration) -> Duration {
    interval + interval.mul_f64(rand::random::<f64>() / 10.0)
}
