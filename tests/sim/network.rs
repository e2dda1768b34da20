//! The network between the hosts: connections whose bytes stay in order, and take their time.
//!
//!     a host ── writes ──► on the way: due at … ──► arrived ──► reads ── another host
//!                             └─ stays, while the way is cut in this direction
//!
//! As with TCP, what is lost is sent again, so that loss is time. A connection ends when an end hangs up, or is reset. A
//! host without power says nothing: whoever waits for it finds out by itself.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use journal::{Arrivals, Connecting, Connection, Network};
use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::mpsc;

use crate::story::Story;

/// What may be written and not yet read.
const PIPE_BYTES: usize = 1 << 20;
/// Connections that wait to be accepted.
const ARRIVALS_MAX: usize = 64;
/// Until what was lost is sent again, the first time.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// How bytes go from one host to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Way {
    pub(crate) delay: Duration,
    /// At most so much more.
    pub(crate) jitter: Duration,
    /// Of a thousand parts that are sent, so many are lost.
    pub(crate) lost_in_1000: u32,
    pub(crate) is_cut: bool,
}

/// All connections. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Net {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    now: Duration,
    chance: StdRng,
    story: Story,
    hosts: Vec<Place>,
    /// By whom from and whom to.
    ways: Vec<Vec<Way>>,
    /// By how much the next message is late, from whom and to whom.
    late: BTreeMap<(usize, usize), Duration>,
    pipes: BTreeMap<u64, Pipe>,
    named: u64,
}

struct Place {
    name: String,
    has_power: bool,
    listens: BTreeMap<u16, mpsc::Sender<Box<dyn Connection>>>,
}

/// One direction of a connection.
struct Pipe {
    from: usize,
    to: usize,
    on_the_way: VecDeque<(Duration, Part)>,
    arrived: BytesMut,
    unread: usize,
    /// How the reader finds it behind what has arrived.
    end: Option<Part>,
    /// Nobody reads any more.
    is_deaf: bool,
    /// Nobody writes any more.
    is_over: bool,
    /// Whoever writes is told so.
    is_broken: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

#[derive(Debug)]
enum Part {
    Bytes(Bytes),
    /// Nothing comes behind it.
    End,
    Reset,
}

impl Net {
    pub(crate) fn new(seed: u64, names: &[String], way: Way, story: Story) -> Net {
        let place = |name: &String| Place { name: name.clone(), has_power: false, listens: BTreeMap::new() };
        let shared = Shared {
            now: Duration::ZERO,
            chance: StdRng::seed_from_u64(seed),
            story,
            hosts: names.iter().map(place).collect(),
            ways: vec![vec![way; names.len()]; names.len()],
            late: BTreeMap::new(),
            pipes: BTreeMap::new(),
            named: 0,
        };
        Net { shared: Arc::new(Mutex::new(shared)) }
    }

    /// What a host sees of it.
    pub(crate) fn seen_by(&self, host: usize) -> Arc<Seen> {
        Arc::new(Seen { net: self.clone(), host })
    }

    pub(crate) fn set_way(&self, from: usize, to: usize, change: impl Fn(&mut Way)) {
        let mut shared = self.shared.lock();
        let was_cut = shared.ways[from][to].is_cut;
        change(&mut shared.ways[from][to]);
        if was_cut && !shared.ways[from][to].is_cut {
            // What was sent in vain is sent again some time.
            let Shared { now, chance, pipes, .. } = &mut *shared;
            for pipe in pipes.values_mut().filter(|pipe| (pipe.from, pipe.to) == (from, to)) {
                let at = *now + AGAIN_AFTER.mul_f64(chance.random());
                pipe.on_the_way.iter_mut().for_each(|(due, _)| *due = at.max(*due));
            }
        }
    }

    /// The next message takes so much longer. Others overtake it on other connections.
    pub(crate) fn delay_next(&self, from: usize, to: usize, by: Duration) {
        self.shared.lock().late.insert((from, to), by);
    }

    /// Nothing is late any more that is yet to be sent.
    pub(crate) fn forget_late(&self) {
        self.shared.lock().late.clear();
    }

    /// The host is on, and can be reached.
    pub(crate) fn power_on(&self, host: usize) {
        self.shared.lock().hosts[host].has_power = true;
    }

    /// From now on it says nothing. Its processes may be dropped then.
    pub(crate) fn power_off(&self, host: usize) {
        let mut shared = self.shared.lock();
        shared.hosts[host].has_power = false;
        shared.hosts[host].listens.clear();
        shared.pipes.values_mut().filter(|pipe| pipe.to == host).for_each(|pipe| pipe.is_deaf = true);
    }

    /// Its processes have ended, and the host is there still.
    pub(crate) fn listens_no_more(&self, host: usize) {
        self.shared.lock().hosts[host].listens.clear();
    }

    /// Breaks every connection between the two.
    pub(crate) fn reset(&self, one: usize, other: usize) {
        let mut wakes = Vec::new();
        let mut shared = self.shared.lock();
        let between = |pipe: &&mut Pipe| [(one, other), (other, one)].contains(&(pipe.from, pipe.to));
        for pipe in shared.pipes.values_mut().filter(between) {
            pipe.on_the_way.clear();
            pipe.end = Some(Part::Reset);
            pipe.is_broken = true;
            wakes.extend(pipe.reader.take().into_iter().chain(pipe.writer.take()));
        }
        drop(shared);
        wakes.into_iter().for_each(Waker::wake);
    }

    /// Time goes on: what is due arrives.
    pub(crate) fn advance(&self, now: Duration) {
        let mut wakes = Vec::new();
        let mut shared = self.shared.lock();
        shared.now = now;
        let Shared { hosts, ways, pipes, story, .. } = &mut *shared;
        for (name, pipe) in pipes.iter_mut() {
            if ways[pipe.from][pipe.to].is_cut {
                continue;
            }
            while let Some((_, part)) = pipe.on_the_way.pop_front_if(|(due, _)| *due <= now) {
                if pipe.is_deaf {
                    // Without power nobody says that there is nobody.
                    if hosts[pipe.to].has_power {
                        pipe.is_broken = true;
                        pipe.on_the_way.clear();
                        wakes.extend(pipe.writer.take());
                    }
                    continue;
                }
                story.note(&name.to_le_bytes());
                match part {
                    Part::Bytes(bytes) => {
                        story.note(&bytes);
                        pipe.arrived.extend_from_slice(&bytes);
                    }
                    end => drop(pipe.end.get_or_insert(end)),
                }
                wakes.extend(pipe.reader.take());
            }
        }
        pipes.retain(|_, pipe| !(pipe.is_deaf && pipe.is_over));
        drop(shared);
        wakes.into_iter().for_each(Waker::wake);
    }
}

impl Shared {
    fn takes(&mut self, from: usize, to: usize) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        let way = self.ways[from][to];
        let mut takes = way.delay + way.jitter.mul_f64(self.chance.random());
        let mut again = AGAIN_AFTER;
        while self.chance.random_range(0..1_000) < way.lost_in_1000 {
            takes += again;
            again *= 2;
        }
        takes
    }

    fn pipe(&mut self, from: usize, to: usize) -> u64 {
        self.named += 1;
        let pipe = Pipe {
            from,
            to,
            on_the_way: VecDeque::new(),
            arrived: BytesMut::new(),
            unread: 0,
            end: None,
            is_deaf: false,
            is_over: false,
            is_broken: false,
            reader: None,
            writer: None,
        };
        self.pipes.insert(self.named, pipe);
        self.named
    }

    fn send(&mut self, name: u64, part: Part) {
        let Some(pipe) = self.pipes.get(&name) else { return };
        let (from, to) = (pipe.from, pipe.to);
        let late = self.late.remove(&(from, to)).unwrap_or_default();
        let due = self.now + self.takes(from, to) + late;
        let pipe = self.pipes.get_mut(&name).expect("it was just there");
        let due = pipe.on_the_way.back().map_or(due, |(before, _)| due.max(*before));
        pipe.on_the_way.push_back((due, part));
    }
}

/// The network as one host sees it.
pub(crate) struct Seen {
    net: Net,
    host: usize,
}

impl std::fmt::Debug for Seen {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the network of host {}", self.host)
    }
}

impl Network for Seen {
    fn connect(&self, host: &str, port: u16) -> Connecting {
        let (net, from) = (self.net.clone(), self.host);
        let to = net.shared.lock().hosts.iter().position(|place| place.name == host);
        Box::pin(async move {
            let to = to.ok_or(io::ErrorKind::NotFound)?;
            let takes = {
                let mut shared = net.shared.lock();
                shared.takes(from, to) + shared.takes(to, from)
            };
            tokio::time::sleep(takes).await;
            let is_silent = {
                let shared = net.shared.lock();
                shared.ways[from][to].is_cut || shared.ways[to][from].is_cut || !shared.hosts[to].has_power
            };
            if is_silent {
                // Whoever asked has a deadline.
                std::future::pending::<()>().await;
            }
            let mut shared = net.shared.lock();
            let door =
                shared.hosts[to].listens.get(&port).cloned().ok_or(io::ErrorKind::ConnectionRefused)?;
            let (there, back) = (shared.pipe(from, to), shared.pipe(to, from));
            drop(shared);
            let end = |reads, writes| End { net: net.clone(), reads, writes };
            let (near, far) = (end(back, there), end(there, back));
            door.try_send(Box::new(far)).map_err(|_| io::ErrorKind::ConnectionRefused)?;
            Ok(Box::new(near) as Box<dyn Connection>)
        })
    }

    fn listen(&self, port: u16) -> Option<Arrivals> {
        let (door, arrivals) = mpsc::channel(ARRIVALS_MAX);
        self.net.shared.lock().hosts[self.host].listens.insert(port, door);
        Some(arrivals)
    }
}

/// One end of a connection.
struct End {
    net: Net,
    reads: u64,
    writes: u64,
}

impl AsyncRead for End {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut shared = self.net.shared.lock();
        let Some(pipe) = shared.pipes.get_mut(&self.reads) else {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        };
        if let Some(Part::Reset) = pipe.end {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if pipe.arrived.is_empty() {
            if pipe.end.is_some() {
                return Poll::Ready(Ok(()));
            }
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let count = buffer.remaining().min(pipe.arrived.len());
        buffer.put_slice(&pipe.arrived[..count]);
        pipe.arrived.advance(count);
        pipe.unread -= count;
        let writer = pipe.writer.take();
        drop(shared);
        if let Some(writer) = writer {
            writer.wake();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for End {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut shared = self.net.shared.lock();
        let pipe = shared.pipes.get_mut(&self.writes).filter(|pipe| !pipe.is_broken);
        let Some(pipe) = pipe else { return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())) };
        let count = bytes.len().min(PIPE_BYTES.saturating_sub(pipe.unread));
        if count == 0 && !bytes.is_empty() {
            pipe.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        pipe.unread += count;
        shared.send(self.writes, Part::Bytes(Bytes::copy_from_slice(&bytes[..count])));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.net.shared.lock().send(self.writes, Part::End);
        Poll::Ready(Ok(()))
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let mut shared = self.net.shared.lock();
        let Some(pipe) = shared.pipes.get_mut(&self.writes) else { return };
        pipe.is_over = true;
        let from = pipe.from;
        if let Some(pipe) = shared.pipes.get_mut(&self.reads) {
            pipe.is_deaf = true;
            pipe.reader = None;
        }
        if shared.hosts[from].has_power {
            shared.send(self.writes, Part::Reset);
        }
    }
}
