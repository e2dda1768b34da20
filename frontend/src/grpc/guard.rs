//! One call, from its first header to its status: counted once, whatever becomes of it.

use std::sync::Arc;
use std::time::Instant;

use super::method::MethodId;
use crate::metrics::rpc::{Code, RpcCounters};

/// Counts a call as begun when made, and as ended when told so. One that is dropped before was canceled.
pub(crate) struct Guard {
    counters: Arc<RpcCounters>,
    method: MethodId,
    began: Instant,
    ended: bool,
}

impl Guard {
    pub(crate) fn begin(counters: Arc<RpcCounters>, method: MethodId) -> Guard {
        counters.started(method);
        Guard { counters, method, began: Instant::now(), ended: false }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.counters.sent(self.method, bytes);
    }

    pub(crate) fn ended(&mut self, code: Code) {
        if !self.ended {
            self.ended = true;
            self.counters.handled(self.method, code, self.began.elapsed());
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ended(Code::CANCELED);
    }
}
