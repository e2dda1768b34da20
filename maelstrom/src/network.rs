//! Connections between nodes over messages, in place of TCP between processes.
//!
//!     this node                                                       another node
//!     dialer ── pipe ── carrier ── messages, lost and late ── carrier ── TCP ── its listener
//!
//! The tiers speak what they speak in production, byte for byte; only what carries it differs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use journal::{Connecting, Connection, Network};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::carrier::{Carried, Link, carry};
use crate::ids::Ids;
use crate::lines::Says;
use crate::message::{Body, Message, body};
use crate::stream::Chunk;

/// The type of the messages between nodes that carry a connection.
pub(crate) const KIND: &str = "stream";

/// Between a dialer and what carries its bytes.
const PIPE_BYTES: usize = 256 << 10;
/// Messages of one connection that wait. More are lost.
const MAILBOX_MAX: usize = 256;
/// Connections that have ended and are remembered: a message that comes late must not begin one anew.
const ENDED_MAX: usize = 4_096;

/// What is carried between two nodes, from one end's view.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name {
    id: String,
    /// The other end.
    node: String,
}

/// The connections of this node. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Messages {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    node: String,
    says: Says,
    ids: Ids,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    mailboxes: HashMap<Name, mpsc::Sender<Carried>>,
    ended: HashSet<Name>,
    ended_in_order: VecDeque<Name>,
    /// Where this node listens, by the port that others know.
    ports: HashMap<u16, u16>,
}

impl Messages {
    pub(crate) fn new(node: &str, says: Says) -> Messages {
        let shared = Shared { node: node.to_owned(), says, ids: Ids::of(node), open: Mutex::default() };
        Messages { shared: Arc::new(shared) }
    }

    /// What others reach at `port` listens at `local` of the loopback.
    pub(crate) fn listens(&self, port: u16, local: u16) {
        self.shared.open.lock().ports.insert(port, local);
    }

    /// A message of this kind has come. What cannot be read is lost.
    pub(crate) fn hear(&self, message: &Message) {
        let Some((id, port, carried)) = read(&message.body) else {
            tracing::warn!(from = message.src, "a message of another node cannot be read: it is passed over");
            return;
        };
        let name = Name { id, node: message.src.clone() };
        let mut open = self.shared.open.lock();
        let mailbox = match open.mailboxes.get(&name) {
            Some(mailbox) => mailbox.clone(),
            // Only who dials begins one, and not by its end.
            None if matches!(carried, Carried::Chunk(_)) && port != 0 && !open.ended.contains(&name) => {
                let Some(local) = open.ports.get(&port).copied() else { return };
                let (mailbox, mail) = mpsc::channel(MAILBOX_MAX);
                open.mailboxes.insert(name.clone(), mailbox.clone());
                let messages = self.clone();
                let link = self.link(&name, 0, mail);
                tokio::spawn(async move {
                    match TcpStream::connect((Ipv4Addr::LOCALHOST, local)).await {
                        Ok(socket) => carry(socket, link).await,
                        Err(_) => link.refuse(),
                    }
                    messages.end(name);
                });
                mailbox
            }
            None => {
                drop(open);
                // Whoever goes on sending learns that it has ended, however often that was lost.
                if matches!(carried, Carried::Chunk(_)) {
                    self.post(&name, 0, Carried::Gone);
                }
                return;
            }
        };
        drop(open);
        drop(mailbox.try_send(carried));
    }

    fn link(&self, name: &Name, port: u16, mail: mpsc::Receiver<Carried>) -> Link {
        let (messages, name) = (self.clone(), name.clone());
        Link { mail, post: Box::new(move |carried| messages.post(&name, port, carried)) }
    }

    fn post(&self, name: &Name, port: u16, carried: Carried) {
        let body = write(&name.id, port, carried);
        let (src, dest) = (self.shared.node.clone(), name.node.clone());
        self.shared.says.post(Message { src, dest, body });
    }

    fn end(&self, name: Name) {
        let mut open = self.shared.open.lock();
        open.mailboxes.remove(&name);
        if open.ended.insert(name.clone()) {
            open.ended_in_order.push_back(name);
        }
        if ENDED_MAX < open.ended_in_order.len()
            && let Some(oldest) = open.ended_in_order.pop_front()
        {
            open.ended.remove(&oldest);
        }
    }
}

impl Network for Messages {
    /// It has a connection at once, as far as this node knows.
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let name = Name { id: self.shared.ids.next(), node: host.to_owned() };
        let (near, far) = tokio::io::duplex(PIPE_BYTES);
        let (mailbox, mail) = mpsc::channel(MAILBOX_MAX);
        self.shared.open.lock().mailboxes.insert(name.clone(), mailbox);
        let (link, messages) = (self.link(&name, port, mail), self.clone());
        tokio::spawn(async move {
            carry(far, link).await;
            messages.end(name);
        });
        Box::pin(std::future::ready(Ok::<Box<dyn Connection>, io::Error>(Box::new(near))))
    }
}

/// `port` is that of whom is dialed; 0 from whom was.
fn write(id: &str, port: u16, carried: Carried) -> Body {
    body(match carried {
        Carried::Chunk(Chunk { place, bytes, ends }) => {
            let bytes = BASE64_STANDARD.encode(&bytes);
            json!({ "type": KIND, "id": id, "port": port, "place": place, "bytes": bytes, "ends": ends })
        }
        Carried::Upto(upto) => json!({ "type": KIND, "id": id, "port": port, "upto": upto }),
        Carried::Gone => json!({ "type": KIND, "id": id, "port": port, "gone": true }),
    })
}

fn read(body: &Body) -> Option<(String, u16, Carried)> {
    let id = body.get("id")?.as_str()?.to_owned();
    let port = u16::try_from(body.get("port")?.as_u64()?).ok()?;
    let number = |name| body.get(name).and_then(Value::as_u64);
    let carried = match (number("place"), number("upto")) {
        (Some(place), _) => {
            let bytes = BASE64_STANDARD.decode(body.get("bytes")?.as_str()?).ok()?;
            let ends = body.get("ends")?.as_bool()?;
            // So that no sum of places passes what there is.
            Carried::Chunk(Chunk { place: place.min(u64::MAX / 2), bytes: bytes.into(), ends })
        }
        (None, Some(upto)) => Carried::Upto(upto),
        (None, None) => Carried::Gone,
    };
    Some((id, port, carried))
}

#[cfg(test)]
mod tests;
