//! What clients ask for: a generator and the words of the protocol for each workload.

pub mod broadcast;
pub mod counter;
pub mod echo;
pub mod g_set;
pub mod kafka;
pub mod keys;
pub mod lin_kv;
pub mod list_append;
pub mod rw_register;
pub mod transactions;
pub mod unique_ids;

use std::fmt::Display;
use std::time::Duration;

use rand::rngs::StdRng;
use serde_json::Value;

use super::message::Fields;
use crate::check::Findings;
use crate::check::history::Operation;

pub trait Workload {
    type Call: Clone + Display;
    type Answer: Clone + Display;

    /// A call for the client of this slot. A slot is a place for clients, one after the other.
    fn next(&mut self, slot: usize, random: &mut StdRng) -> Self::Call;

    /// A read for after the faults; `None` when this slot has no more.
    fn next_final(&mut self, slot: usize) -> Option<Self::Call> {
        let _ = slot;
        None
    }

    /// Hears of every operation that ended.
    fn ended(&mut self, slot: usize, operation: &Operation<Self::Call, Self::Answer>) {
        let _ = (slot, operation);
    }

    /// The request's type, and what operations are counted by. An answer's is `…_ok`.
    fn kind(call: &Self::Call) -> &'static str;

    /// The request's fields, beside its type and number.
    fn request(call: &Self::Call) -> Value;

    /// Takes what the answer must have. Whatever is left is not allowed.
    fn answer(call: &Self::Call, fields: &mut Fields) -> Result<Self::Answer, String>;

    fn timeout(latency: Duration) -> Duration {
        let _ = latency;
        Duration::from_secs(5)
    }

    fn check(history: &[Operation<Self::Call, Self::Answer>]) -> Findings;
}
