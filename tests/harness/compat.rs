//! The differential judge: the same requests to several stores, whose answers must be equal.
//!
//!     generate ──► Request ──► etcd 3.6 ──┐
//!                          ──► etcd 3.7 ──┼─► Outcome, ids and terms blanked ──► equal?
//!                          ──► Mainstem ──┘

mod auth;
mod corpus;
mod dialogue;
mod generate;
mod outcome;
mod request;
mod subject;
mod ties;
mod watching;

pub use corpus::{corpus, large_values};
pub use dialogue::{Act, Line, converse};
pub use generate::Generator;
pub use outcome::Outcome;
pub use request::Request;
pub use subject::{Subject, agree, subjects};
pub use watching::{Watching, told};
