//! The protocol between frontends, journal and memstores as a program: abstract, alone, and checked.
//!
//!     clients ─► frontends ──appends, questions──► sequencer on Raft's leader
//!                    ▲                                  │ committed entries
//!                    └────────looks──── memstores ◄─────┘            a checker sees everything
//!
//! It shares no code with the tiers: it says what they have to do, and whether that is enough. A run draws its
//! own mix of sizes, faults and requests from its seed. Every rule can be switched off, to see that the checker
//! notices.

pub(crate) mod broken;
mod checker;
mod client;
mod disks;
mod evaluate;
mod fencing;
mod frontend;
mod healing;
mod hearing;
mod journal;
mod leadership;
mod lessor;
mod looking;
mod memstore;
mod mix;
mod network;
mod node;
mod operation;
mod placement;
mod raft;
mod record;
mod request;
mod reservations;
mod rng;
mod routes;
pub(crate) mod runs;
mod sequencer;
mod serial;
mod state;
mod story;
mod window;
mod world;
