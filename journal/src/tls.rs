//! TLS: what a process proves itself with, whom it believes, and the connections that are made from both.
//!
//!     files ──► Settings ──┬──► Acceptor      who listens: frontends, peers
//!     (read again when     └──► Connector     who dials: the `Dialer`
//!      they change)
//!
//! Certificates, authorities and revocations are looked at before each handshake, so that what is renewed counts from
//! the next connection on. What cannot be read then is told once, and what was there before stays.
//!
//! Sessions are not resumed: whoever comes back proves itself again, by what is valid then.

mod acceptor;
mod caller;
mod connector;
mod der;
mod files;
mod pinned;
mod protocol;
mod reloaded;
mod self_signed;
mod settings;
mod socket;
mod stream;
mod subject;
#[cfg(test)]
mod tests;
mod tier;
mod verifiers;

pub use acceptor::{Acceptor, Refused};
pub use caller::Caller;
pub use connector::Connector;
pub use protocol::Protocol;
pub use self_signed::self_signed;
pub use settings::{Allowed, KeyPair, Settings};
pub use socket::Socket;
pub use stream::{Connection, Stream};
pub use tier::{Guard, Tiers};
