//! The differential judge: the same requests to several stores, whose answers must be equal.
//!
//!     generate ──► Request ──► etcd 3.6 ──┐
//!                          ──► etcd 3.7 ──┼─► Outcome, ids and terms blanked ──► equal?
//!                          ──► Mainstem ──┘

mod corpus;
mod generate;
mod outcome;
mod request;
mod watching;

pub use corpus::corpus;
pub use generate::Generator;
pub use outcome::{Outcome, in_both_etcds};
pub use request::Request;
pub use watching::{Watching, told};
