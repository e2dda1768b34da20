//! One node: it learns who there is, starts the tiers that fall to it, and answers clients, or asks a frontend to.
//!
//!     client ──► n5, a frontend ──────────────────────────► answer
//!     client ──► n0, a journal ── ask ──► n5 ── told ──► n0 ──► answer        with --tiers-apart
//!
//! A request that comes before the tiers run waits for them, as long as its client waits for its answer. After that
//! time nothing is answered: the client is gone, and a message to nobody silences a node for good.

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use clap::Parser;
use frontend::config::{self, Command, Persona};
use frontend::{Client, Config, Node};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::asked::{Remembered, Waiting};
use crate::ids::Ids;
use crate::lines::{Hears, Says};
use crate::message::{Body, Message, Refusal, body};
use crate::network::{self, Messages};
use crate::roles::{Layout, Role, Split};
use crate::workloads::{Workloads, answers};

/// Nobody is spoken to before: a harness may not know all nodes yet.
const QUIET: Duration = Duration::from_secs(1);
/// How long `init` may go without an answer. The harness waits for 10 s.
const INIT_PATIENCE: Duration = Duration::from_secs(5);
/// Requests under way. More are refused.
const REQUESTS_MAX: usize = 4_096;
/// How long Maelstrom's clients wait: a second for registers, unless messages take longer than 100 ms, and five for
/// all else. Less a part of it, for the way of the answer.
const PATIENCE_OF_REGISTERS: Duration = Duration::from_millis(900);
const PATIENCE: Duration = Duration::from_millis(4_500);
/// What is left for a refusal.
const LAST_WORD: Duration = Duration::from_millis(50);
/// Ports as other nodes know them.
const JOURNAL_PORT: u16 = 2380;
const MEMSTORE_PORT: u16 = 2381;
/// Another program may take a port between its choice and its use.
const STARTS_MAX: usize = 5;

/// A node of Maelstrom: journals, memstores and frontends, by the node's place among all.
#[derive(Debug, Parser)]
#[command(name = "mainstem-maelstrom")]
pub struct Arguments {
    #[command(flatten)]
    split: Split,
    /// Where each node keeps its data, in a folder of its name. By default in memory, and gone with the process.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Milliseconds between a leader's signs of life.
    #[arg(long, default_value_t = 100)]
    heartbeat_interval: u64,
    /// Milliseconds after which a silent leader is replaced.
    #[arg(long, default_value_t = 1_000)]
    election_timeout: u64,
    /// Answer `read` with a sum, as the workloads pn-counter and g-counter want it.
    #[arg(long)]
    counter: bool,
}

/// Why a node cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("nobody said who this node is: start it by `maelstrom test --bin` or `maelstrom-runner --bin`")]
    NoInit,
    #[error("{0}")]
    Layout(String),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Settings(String),
    #[error("{0}")]
    Start(#[from] frontend::StartError),
}

/// Runs until standard input ends.
///
/// # Errors
/// Why it could not be begun.
pub async fn run(arguments: Arguments, out: impl Write + Send + 'static) -> Result<(), Failure> {
    let (says, mut hears) = (Says::start(out), Hears::start());
    let init = loop {
        let message = hears.next().await.ok_or(Failure::NoInit)?;
        if message.kind() == "init" {
            break message;
        }
    };
    let (node, nodes) = named(&init.body).ok_or(Failure::NoInit)?;
    let layout = arguments.split.of(&nodes).map_err(Failure::Layout)?;
    let messages = Messages::new(&node, says.clone());
    let here = Arc::new(Here {
        ids: Ids::of(&node),
        life: Ids::of(&node).next(),
        workloads: Workloads::new(&node, arguments.counter),
        node,
        layout,
        says,
        client: watch::Sender::default(),
        runs: watch::Sender::default(),
        remembered: Mutex::default(),
        waiting: Mutex::default(),
        turn: AtomicUsize::new(0),
        requests: Arc::new(Semaphore::new(REQUESTS_MAX)),
    });
    tokio::spawn(here.clone().answer_init(init));
    let mut started = tokio::spawn(start(here.clone(), arguments, messages.clone()));
    let mut runs = None;
    loop {
        let message = tokio::select! {
            message = hears.next() => message,
            node = &mut started, if runs.is_none() => {
                runs = Some(node.map_err(std::io::Error::other)??);
                continue;
            }
        };
        let Some(message) = message else { return Ok(()) };
        match message.kind() {
            network::KIND => messages.hear(&message),
            "told" => here.told(&message).await,
            _ => here.clone().request(message).await,
        }
    }
}

fn named(init: &Body) -> Option<(String, Vec<String>)> {
    let node = init.get("node_id")?.as_str()?.to_owned();
    let nodes = init.get("node_ids")?.as_array()?.iter();
    Some((node, nodes.map(|id| id.as_str().map(str::to_owned)).collect::<Option<_>>()?))
}

/// How long the answer to a message is of use.
fn patience(message: &Message) -> Duration {
    let within = message.body.get("within").and_then(Value::as_u64).map(Duration::from_millis);
    let of_registers = matches!(message.kind(), "read" | "write" | "cas") && message.body.contains_key("key");
    within.unwrap_or(if of_registers { PATIENCE_OF_REGISTERS } else { PATIENCE }).min(PATIENCE)
}

struct Here {
    node: String,
    layout: Layout,
    says: Says,
    ids: Ids,
    workloads: Workloads,
    /// Once there is a frontend here, and it serves.
    client: watch::Sender<Option<Client>>,
    /// Whether the tiers of this node run.
    runs: watch::Sender<bool>,
    /// By which other nodes ask this one.
    life: String,
    remembered: Mutex<Remembered>,
    /// What frontends elsewhere were asked.
    waiting: Mutex<Waiting>,
    turn: AtomicUsize,
    requests: Arc<Semaphore>,
}

impl Here {
    /// Clients come once all nodes have answered this, so it is answered when the tiers run and a read succeeds, or after
    /// a while: nodes that cannot reach each other do not get that far, and the harness does not wait for long.
    async fn answer_init(self: Arc<Here>, init: Message) {
        let ready = async {
            let mut runs = self.runs.subscribe();
            let _ = runs.wait_for(|runs| *runs).await;
            let client = self.client.borrow().clone();
            if let Some(client) = client {
                drop(client.get("init").await);
            }
        };
        let _ = tokio::time::timeout(INIT_PATIENCE, ready).await;
        self.says.answer(init.answer(body(json!({ "type": "init_ok" })))).await;
    }

    /// Answers a request of a client, or of another node for a client.
    async fn request(self: Arc<Here>, message: Message) {
        if message.kind() == "ask" {
            let text = |name| message.body.get(name).and_then(Value::as_str).unwrap_or_default();
            if text("life") != self.life {
                let told = json!({ "type": "told", "id": text("id"), "life": self.life });
                return self.says.post(message.answer(body(told)));
            }
            if !self.remembered.lock().is_new(text("id")) {
                return;
            }
        }
        if let Some(answer) = self.workloads.alone(&message) {
            return self.says.answer(message.answer(answer)).await;
        }
        let deadline = Instant::now() + patience(&message);
        let is_frontend = self.layout.is_frontend(&self.node);
        if !is_frontend && message.kind() != "ask" {
            return self.ask(message, deadline);
        }
        let Ok(permit) = self.requests.clone().try_acquire_owned() else {
            let refusal = Refusal::Unavailable("too many requests are waiting".to_owned());
            return self.reply(&message, refusal.body()).await;
        };
        let mut client = self.client.subscribe();
        tokio::spawn(async move {
            let _permit = permit;
            let serves =
                tokio::time::timeout_at(deadline - LAST_WORD, client.wait_for(Option::is_some)).await;
            let Ok(Ok(Some(client))) = serves.map(|serves| serves.map(|client| client.clone())) else {
                let refusal = Refusal::Unavailable("this node is starting".to_owned());
                return self.reply(&message, refusal.body()).await;
            };
            let request = match message.body.get("request") {
                Some(Value::Object(request)) => request,
                _ => &message.body,
            };
            // What is not known in time may have happened: the client finds that out by itself.
            let answer = tokio::time::timeout_at(deadline, answers(&self.workloads, &client, request)).await;
            if let Ok(answer) = answer {
                self.reply(&message, answer).await;
            }
        });
    }

    /// Answers whoever asked: a client, or another node for one of its clients.
    async fn reply(&self, message: &Message, answer: Body) {
        let answer = match message.kind() {
            "ask" => body(json!({ "type": "told", "id": message.body.get("id"), "answer": answer })),
            _ => answer,
        };
        self.says.answer(message.answer(answer)).await;
    }

    /// Lets a frontend answer. What is lost on the way stays without an answer: it may have happened.
    fn ask(&self, message: Message, deadline: Instant) {
        let frontends = &self.layout.frontends;
        let dest = frontends[self.turn.fetch_add(1, Relaxed) % frontends.len()].clone();
        self.ask_of(dest, message, deadline);
    }

    fn ask_of(&self, dest: String, message: Message, deadline: Instant) {
        let (id, request) = (self.ids.next(), message.body.clone());
        let within = deadline.saturating_duration_since(Instant::now()).as_millis();
        let within = u64::try_from(within).unwrap_or(u64::MAX);
        let life = self.waiting.lock().asks(id.clone(), &dest, message, deadline);
        let ask = json!({ "type": "ask", "id": id, "life": life, "within": within, "request": request });
        let ask = body(ask);
        self.says.post(Message { src: self.node.clone(), dest, body: ask });
    }

    /// An answer of a frontend has come.
    async fn told(&self, told: &Message) {
        let text = |name| told.body.get(name).and_then(Value::as_str);
        let message = {
            let mut waiting = self.waiting.lock();
            if let Some(life) = text("life") {
                waiting.lives(&told.src, life);
            }
            waiting.answered(text("id").unwrap_or_default())
        };
        // One that has come twice answers nothing any more.
        let Some((message, deadline)) = message else { return };
        if text("life").is_some() {
            // It has done nothing, and can be asked by its life now.
            self.ask_of(told.src.clone(), message, deadline);
        } else if let Some(Value::Object(answer)) = told.body.get("answer") {
            self.says.answer(message.answer(answer.clone())).await;
        }
    }
}

/// Starts the tiers, and lets clients in. A memstore that serves other nodes and a frontend are two processes in
/// production, and two nodes here.
async fn start(here: Arc<Here>, arguments: Arguments, messages: Messages) -> Result<Vec<Node>, Failure> {
    tokio::time::sleep(QUIET).await;
    let role = here.layout.role(&here.node);
    let speaks = here.layout.is_frontend(&here.node);
    let mut nodes = Vec::new();
    for role in [Some(role), (role == Role::Memstore && speaks).then_some(Role::Frontend)] {
        let Some(role) = role else { continue };
        nodes.push(start_one(&here, role, &arguments, &messages).await?);
    }
    if let Some(node) = nodes.last().filter(|_| speaks) {
        here.client.send_replace(Some(node.client()));
    }
    here.runs.send_replace(true);
    tracing::info!(node = here.node, "ready");
    Ok(nodes)
}

async fn start_one(
    here: &Here,
    role: Role,
    arguments: &Arguments,
    messages: &Messages,
) -> Result<Node, Failure> {
    let mut tries = 1;
    loop {
        let (config, ports) = config(&here.node, role, &here.layout, arguments)?;
        for (port, local) in ports {
            messages.listens(port, local);
        }
        match Node::start_over(config, Arc::new(messages.clone())).await {
            Ok(node) => return Ok(node),
            Err(error) if tries == STARTS_MAX => return Err(error.into()),
            Err(error) => tracing::warn!(%error, "it is tried again with other ports"),
        }
        tries += 1;
    }
}

/// What a node of its role is told in production, and where it listens by the ports that others know.
fn config(
    node: &String,
    role: Role,
    layout: &Layout,
    arguments: &Arguments,
) -> Result<(Config, Vec<(u16, u16)>), Failure> {
    let journal_url = |node: &String| format!("http://{node}:{JOURNAL_PORT}");
    let journals: Vec<_> = layout.journals.iter().map(journal_url).collect();
    let members: Vec<_> =
        layout.journals.iter().map(|node| format!("{node}={}", journal_url(node))).collect();
    let (mut flags, mut ports) = (vec![format!("--name={node}")], Vec::new());
    flags.push(format!("--heartbeat-interval={}", arguments.heartbeat_interval));
    flags.push(format!("--election-timeout={}", arguments.election_timeout));
    if let Role::All | Role::Journal = role {
        let local = free_port()?;
        ports.push((JOURNAL_PORT, local));
        flags.push(format!("--listen-peer-urls=http://127.0.0.1:{local}"));
        flags.push(format!("--initial-advertise-peer-urls={}", journal_url(node)));
        flags.push(format!("--initial-cluster={}", members.join(",")));
    } else {
        flags.push(format!("--journal-endpoints={}", journals.join(",")));
    }
    match role {
        Role::All => {}
        Role::Journal if layout.is_frontend(node) => flags.push("--role=journal,frontend".to_owned()),
        Role::Journal => flags.push("--role=journal".to_owned()),
        Role::Frontend => flags.push("--role=frontend".to_owned()),
        Role::Memstore => {
            let local = free_port()?;
            ports.push((MEMSTORE_PORT, local));
            flags.push("--role=memstore".to_owned());
            flags.push(format!("--listen-memstore-urls=http://127.0.0.1:{local}"));
            flags.push(format!("--advertise-memstore-urls=http://{node}:{MEMSTORE_PORT}"));
        }
    }
    // A frontend keeps nothing, and may stand beside a memstore that does.
    let directory = arguments.dir.as_deref().filter(|_| role != Role::Frontend);
    let directory = directory.map(|directory| directory.join(node));
    if let Some(directory) = directory.as_deref().and_then(Path::to_str) {
        flags.push(format!("--data-dir={directory}"));
    }
    let command = config::read(Persona::Mainstem, &flags, std::iter::empty());
    let config = match command {
        Ok(Command::Start(start)) => start.config,
        Ok(_) => unreachable!("nothing else was asked for"),
        Err(refusal) => return Err(Failure::Settings(refusal.to_string())),
    };
    let storage = match directory {
        Some(_) => config.storage,
        None => config::Storage::Memory,
    };
    // Clients speak to it by messages alone.
    Ok((Config { storage, listen_client: Vec::new(), ..config }, ports))
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}
