//! What one endpoint tells never goes back: whoever asks after an answer has come is told no older revision.

use std::sync::atomic::{AtomicI64, Ordering::SeqCst};

use super::*;

/// The newest revision that some client of the endpoint has been told.
#[derive(Clone, Default)]
struct Told {
    newest: Arc<AtomicI64>,
}

impl Told {
    /// Asks, and holds the answer's header against what had been told before the question.
    async fn ask<T>(
        &self,
        question: impl Future<Output = Result<Response<T>, Status>>,
        header: impl FnOnce(&T) -> &Option<wire::ResponseHeader>,
    ) {
        let before = self.newest.load(SeqCst);
        let answer = question.await.expect("it is in order").into_inner();
        let revision = header(&answer).as_ref().expect("it has a header").revision;
        assert!(before <= revision, "told {before}, and {revision} later");
        self.newest.fetch_max(revision, SeqCst);
    }
}

/// What a client does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Get {
        key: &'static str,
        serializable: bool,
    },
    List {
        serializable: bool,
    },
    Put(&'static str),
    Delete(&'static str),
    /// Reads or writes, as it finds it.
    Txn(&'static str),
}

fn act() -> impl Strategy<Value = Act> {
    let key = || prop::sample::select(&["a", "f", "m", "z"][..]);
    prop_oneof![
        4 => (key(), any::<bool>()).prop_map(|(key, serializable)| Act::Get { key, serializable }),
        2 => any::<bool>().prop_map(|serializable| Act::List { serializable }),
        3 => key().prop_map(Act::Put),
        1 => key().prop_map(Act::Delete),
        1 => key().prop_map(Act::Txn),
    ]
}

fn txn(key: &'static str) -> wire::TxnRequest {
    let absent = wire::Compare {
        key: key.into(),
        target_union: Some(wire::compare::TargetUnion::Version(0)),
        ..wire::Compare::default()
    };
    let put = wire::PutRequest { key: key.into(), ..wire::PutRequest::default() };
    let range = wire::RangeRequest { key: key.into(), serializable: true, ..wire::RangeRequest::default() };
    let operation = |request| vec![wire::RequestOp { request: Some(request) }];
    wire::TxnRequest {
        compare: vec![absent],
        success: operation(Operation::RequestPut(put)),
        failure: operation(Operation::RequestRange(range)),
    }
}

async fn client(kv: KvService, told: Told, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Get { key, serializable } => {
                let request =
                    wire::RangeRequest { key: key.into(), serializable, ..wire::RangeRequest::default() };
                told.ask(kv.range(Request::new(request)), |answer| &answer.header).await;
            }
            Act::List { serializable } => {
                let (key, range_end) = ("a".into(), "\0".into());
                let request =
                    wire::RangeRequest { key, range_end, serializable, ..wire::RangeRequest::default() };
                told.ask(kv.range(Request::new(request)), |answer| &answer.header).await;
            }
            Act::Put(key) => {
                let request = wire::PutRequest { key: key.into(), ..wire::PutRequest::default() };
                told.ask(kv.put(Request::new(request)), |answer| &answer.header).await;
            }
            Act::Delete(key) => {
                let request =
                    wire::DeleteRangeRequest { key: key.into(), ..wire::DeleteRangeRequest::default() };
                told.ask(kv.delete_range(Request::new(request)), |answer| &answer.header).await;
            }
            Act::Txn(key) => told.ask(kv.txn(Request::new(txn(key))), |answer| &answer.header).await,
        }
    }
}

/// Clients on threads of their own, over partitions that a thread of its own brings forward.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_endpoints_revision_never_goes_back() {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[10; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let script = prop::collection::vec(act(), 300);
    for split_keys in [&[][..], &["f", "m"][..]] {
        let world = World::start(split_keys).await;
        let told = Told::default();
        let clients: Vec<_> = (0..6)
            .map(|_| {
                let acts = script.new_tree(&mut runner).expect("there are acts").current();
                tokio::spawn(client(world.kv.clone(), told.clone(), acts))
            })
            .collect();
        for client in clients {
            client.await.expect("nothing goes back");
        }
        assert!(told.newest.load(SeqCst) > 100, "much was written");
        world.close().await;
    }
}
