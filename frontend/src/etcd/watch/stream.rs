//! One Watch stream: a task that reads the client's requests and the session's answers, and a queue to the connection
//! that is bounded in bytes. A client that does not read stops this task and nobody else.

use std::sync::Arc;
use std::time::Duration;

use journal::Revision;
use memstore::{Event, Memory};
use prost::Message;
use proto::etcdserverpb::watch_create_request::FilterType;
use proto::etcdserverpb::watch_request::RequestUnion;
use proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use tokio_stream::StreamExt;
use tonic::{Request, Status, Streaming};

use super::codec::{Frame, event_bytes};
use super::frame_queue::{self, AnswerStream, FrameSender};
use crate::answer::Position;
use crate::error::Error;
use crate::etcd::header::Identity;
use crate::etcd::status::watch_refusal;
use crate::store::Store;
use crate::watch::{Answer, Create, Refusal, Session, watched_keys};

/// Answers of one session that wait to be packed. Where there are more, no further request is read, so that a client
/// which asks and does not read is stopped by its own window.
const ANSWERS_MAX: usize = 64;

/// etcd's id of "all watchers of the stream", and of one that was not created.
const NO_WATCHER: i64 = -1;

/// What every stream needs.
pub(crate) struct WatchContext {
    pub(crate) store: Store,
    pub(crate) identity: Identity,
    pub(crate) memory: Arc<Memory>,
    /// A fragment is smaller, in bytes, unless it is of one event; where the client wants fragments.
    pub(crate) fragment_bytes: usize,
    pub(crate) progress_interval: Duration,
}

pub(crate) fn start(context: Arc<WatchContext>, request: Request<Streaming<WatchRequest>>) -> AnswerStream {
    let (frames, answers) = frame_queue::channel(context.memory.clone());
    let session = Session::new(context.store.clone());
    let task = StreamTask { context, session, frames, answers_first: false };
    tokio::spawn(task.run(request.into_inner()));
    answers
}

struct StreamTask {
    context: Arc<WatchContext>,
    session: Session,
    frames: FrameSender,
    /// Whether an answer goes before a request, if there are both: they take turns.
    answers_first: bool,
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
        // Nothing is taken from the session, nor read from the client, before there is room for what comes of it.
        while self.frames.room().await {
            let reads = reading && self.session.pending_answers() < ANSWERS_MAX;
            let (session, answers_first) = (&mut self.session, self.answers_first);
            let next = async {
                if answers_first {
                    tokio::select! {
                        biased;
                        answer = session.next() => Happening::Answer(answer),
                        request = requests.next(), if reads => Happening::Request(request),
                    }
                } else {
                    tokio::select! {
                        biased;
                        request = requests.next(), if reads => Happening::Request(request),
                        answer = session.next() => Happening::Answer(answer),
                    }
                }
            };
            let event = tokio::select! {
                biased;
                () = self.frames.closed() => Happening::Gone,
                event = next => event,
                _ = ticks.tick() => Happening::Tick,
            };
            self.answers_first = matches!(event, Happening::Request(_));
            match event {
                Happening::Request(Some(Ok(request))) => self.ask(request),
                // Events keep flowing after the client has said its last word.
                Happening::Request(None) => reading = false,
                Happening::Request(Some(Err(_))) | Happening::Gone => return,
                Happening::Tick => self.session.notify_progress(),
                Happening::Answer(Answer::Closed) => {
                    self.frames.fail(Error::Stopped.into());
                    return;
                }
                Happening::Answer(answer) => {
                    for frame in self.pack(answer) {
                        self.frames.send(frame);
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
        let term = self.context.store.journal().status_now().term;
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

/// Cuts events into responses of less than `bytes_max`, but of one event at least, where etcd cuts them.
fn fragments(head: &WatchResponse, events: Vec<Arc<Event>>, prev_kv: bool, bytes_max: usize) -> Vec<Frame> {
    let all: usize = events.iter().map(|event| event_bytes(event, prev_kv)).sum();
    if head.encoded_len().saturating_add(all) < bytes_max {
        return vec![Frame { events, prev_kv, ..Frame::of(head.clone()) }];
    }
    let head = WatchResponse { fragment: true, ..head.clone() };
    let mut frames: Vec<Frame> = Vec::new();
    let mut bytes = bytes_max;
    for event in events {
        let more = event_bytes(&event, prev_kv);
        if bytes.saturating_add(more) >= bytes_max {
            frames.push(Frame { prev_kv, ..Frame::of(head.clone()) });
            bytes = head.encoded_len();
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

#[cfg(test)]
mod tests {
    use journal::LeaseId;
    use memstore::{Change, EventKind, KeyValue};

    use super::*;

    fn event(value_bytes: usize) -> Arc<Event> {
        let kv = KeyValue {
            key: "k".into(),
            value: vec![b'v'; value_bytes].into(),
            create_revision: Revision(2),
            mod_revision: Revision(2),
            version: 1,
            lease: LeaseId::NONE,
        };
        Arc::new(Event::new(Change { revision: Revision(2), sub: 0, kind: EventKind::Put, kv, prev: None }))
    }

    /// Events in each fragment, and whether it is said that more follow.
    fn cut(events: &[Arc<Event>], bytes_max: usize) -> Vec<(usize, bool)> {
        let frames = fragments(&WatchResponse::default(), events.to_vec(), false, bytes_max);
        frames.iter().map(|frame| (frame.events.len(), frame.head.fragment)).collect()
    }

    #[test]
    fn an_answer_that_reaches_the_limit_is_cut() {
        let events = [event(10), event(10), event(10), event(10), event(10)];
        let one = event_bytes(&events[0], false);
        assert_eq!(cut(&events, 5 * one + 1), [(5, false)]);
        // That more follow takes two bytes itself.
        assert_eq!(cut(&events, 5 * one), [(4, true), (1, false)]);
        assert_eq!(cut(&events, 3 * one + 3), [(3, true), (2, false)]);
        assert_eq!(cut(&events, 3 * one + 2), [(2, true), (2, true), (1, false)]);
        assert_eq!(cut(&events, usize::MAX), [(5, false)]);
    }

    #[test]
    fn an_event_is_never_cut() {
        assert_eq!(cut(&[event(100)], 10), [(1, false)]);
        assert_eq!(cut(&[event(1), event(100), event(1)], 50), [(1, true), (1, true), (1, false)]);
    }
}
