//! One call, from its first header to its status: counted once, whatever becomes of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::method::{Kind, MethodId};
use crate::metrics::rpc::{Code, RpcCounters};

/// Counts a call as begun when made, and as ended when told so. One that is dropped before was canceled.
pub(crate) struct Guard {
    counters: Arc<RpcCounters>,
    method: MethodId,
    began: Instant,
    /// A unary call that takes longer is logged.
    slow: Duration,
    ended: bool,
}

impl Guard {
    pub(crate) fn begin(counters: Arc<RpcCounters>, method: MethodId, slow: Duration) -> Guard {
        counters.started(method);
        Guard { counters, method, began: Instant::now(), slow, ended: false }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.counters.sent(self.method, bytes);
    }

    pub(crate) fn ended(&mut self, code: Code) {
        if self.ended {
            return;
        }
        self.ended = true;
        let took = self.began.elapsed();
        self.counters.handled(self.method, code, took);
        if self.slow < took {
            self.warn(took);
        }
    }

    /// In the words that people search etcd's logs for. A stream may take as long as it likes.
    fn warn(&self, took: Duration) {
        let method = self.method.method();
        if method.kind == Kind::Unary {
            let (took, expected) = (format!("{took:?}"), format!("{:?}", self.slow));
            tracing::warn!(
                took,
                expected_duration = expected,
                method = method.path,
                "apply request took too long"
            );
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ended(Code::CANCELED);
    }
}
