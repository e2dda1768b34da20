//! The KV service's calls, each by the short way of `Unary`, except the one that streams.

use std::sync::Arc;

use http::{Request, Response};
use proto::etcdserverpb::kv_server::{Kv, KvServer, SERVICE_NAME};

use super::{Answer, Body, BoxFuture, Context, Generated, Inbound, Service, Unary};

pub(crate) const NAME: &str = SERVICE_NAME;

pub(crate) struct KvService<K: Kv> {
    kv: Arc<K>,
    generated: Generated<KvServer<K>>,
}

impl<K: Kv> KvService<K> {
    pub(crate) fn new(kv: K) -> KvService<K> {
        let kv = Arc::new(kv);
        let generated = Generated(KvServer::from_arc(kv.clone()).max_decoding_message_size(usize::MAX));
        KvService { kv, generated }
    }
}

impl<K: Kv> Service for KvService<K> {
    fn call(&self, context: Context, request: Request<Inbound>) -> BoxFuture<Answer> {
        let kv = self.kv.clone();
        let name = context.method.method().name();
        let unary = Unary::of(context.clone());
        match name {
            "Range" => whole(async move { unary.answer(request, |message| kv.range(message)).await }),
            "Txn" => whole(async move { unary.answer(request, |message| kv.txn(message)).await }),
            "Put" => whole(async move { unary.answer(request, |message| kv.put(message)).await }),
            "DeleteRange" => {
                whole(async move { unary.answer(request, |message| kv.delete_range(message)).await })
            }
            "Compact" => whole(async move { unary.answer(request, |message| kv.compact(message)).await }),
            _ => self.generated.call(context, request),
        }
    }
}

fn whole(response: impl Future<Output = Response<Body>> + Send + 'static) -> BoxFuture<Answer> {
    Box::pin(async move { Answer::Whole(response.await) })
}
