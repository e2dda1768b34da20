//! One host: a machine with a disk and a clock of its own, and the process on it, which starts, dies and starts again.
//!
//! A process is a runtime of its own, paused, that is run until a moment of its own clock. Dropping it is the death of
//! the process, with all that it had in memory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use frontend::Client;
use frontend::config::{self, Command, Config, Persona};
use journal::machine::{Disk, Faults, Machine};
use parking_lot::Mutex;
use tokio::runtime::Runtime;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::network::{Net, Seen};
use crate::system;

/// Of a journal's file: small, so that there are many in a short life.
const SEGMENT_BYTES: u64 = 256 << 10;
pub(crate) const PEER_PORT: u16 = 2380;
pub(crate) const MEMSTORE_PORT: u16 = 2381;

/// What a process has come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    Starts,
    Serves,
    /// Why it has ended by itself, or that it was asked to.
    Ended(String),
}

/// What a host's process tells the world.
pub(crate) struct Told {
    pub(crate) life: Life,
    /// Where there is a frontend that serves.
    pub(crate) client: Option<Client>,
}

struct Process {
    runtime: Runtime,
    /// The moment of its own clock at which it began.
    began: Instant,
    told: Arc<Mutex<Told>>,
    stops: Arc<Notify>,
}

/// A disk and a data directory that no host has now.
pub(crate) struct Kept {
    pub(crate) disk: Disk,
    pub(crate) folder: PathBuf,
}

pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) number: usize,
    pub(crate) data: PathBuf,
    flags: Vec<String>,
    /// It is a member that was added later.
    pub(crate) has_begun_anew: bool,
    machine: Machine,
    net: Net,
    seen: Arc<Seen>,
    process: Option<Process>,
    /// How fast its clock goes.
    pub(crate) rate: f64,
    /// What its clock says, since the world began.
    clock: Duration,
    /// Its process does not run, and is there.
    pub(crate) is_paused: bool,
    /// How often it has started.
    pub(crate) starts: u32,
    restarts: u64,
}

impl Host {
    pub(crate) fn new(number: usize, name: &str, flags: Vec<String>, data: PathBuf, net: &Net) -> Host {
        let disk = Disk::default();
        disk.slow(Some(Duration::from_micros(500)));
        Host {
            name: name.to_owned(),
            number,
            data,
            flags,
            has_begun_anew: false,
            machine: Machine { disk, segment_bytes: SEGMENT_BYTES },
            net: net.clone(),
            seen: net.seen_by(number),
            process: None,
            rate: 1.0,
            clock: Duration::ZERO,
            is_paused: false,
            starts: 0,
            restarts: 0,
        }
    }

    pub(crate) fn disk(&self) -> &Disk {
        &self.machine.disk
    }

    /// Gives it another disk, or a blank one, and answers the one that it had.
    pub(crate) fn replace_disk(&mut self, disk: Option<Disk>) -> Disk {
        let disk = disk.unwrap_or_default();
        disk.slow(Some(Duration::from_micros(500)));
        std::mem::replace(&mut self.machine.disk, disk)
    }

    pub(crate) fn dialer(&self) -> journal::Dialer {
        journal::Dialer::over(self.seen.clone())
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    pub(crate) fn life(&self) -> Option<Life> {
        self.process.as_ref().map(|process| process.told.lock().life.clone())
    }

    pub(crate) fn client(&self) -> Option<Client> {
        self.process.as_ref()?.told.lock().client.clone()
    }

    /// Starts the process, which takes its time.
    pub(crate) fn start(&mut self) {
        assert!(self.process.is_none(), "one process at a time");
        self.starts += 1;
        self.is_paused = false;
        self.net.power_on(self.number);
        let (_here, config) = (self.machine.enter(), self.config());
        system::set_now(self.clock);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without sockets");
        let told = Arc::new(Mutex::new(Told { life: Life::Starts, client: None }));
        let (stops, seen) = (Arc::new(Notify::new()), self.seen.clone());
        let began = runtime.block_on(async { Instant::now() }) - self.clock;
        runtime.spawn(live(config, seen, told.clone(), stops.clone()));
        self.process = Some(Process { runtime, began, told, stops });
    }

    fn config(&self) -> Config {
        let Ok(Command::Start(start)) = config::read(Persona::Mainstem, &self.flags, std::iter::empty())
        else {
            panic!(
                "the flags are well formed: {:?}",
                config::read(Persona::Mainstem, &self.flags, std::iter::empty()).err()
            );
        };
        Config { listen_client: Vec::new(), ..start.config }
    }

    /// Runs the process for a step of the world's time.
    pub(crate) fn step(&mut self, step: Duration) {
        self.clock += step.mul_f64(self.rate);
        let Some(process) = self.process.as_ref().filter(|_| !self.is_paused) else { return };
        let _here = self.machine.enter();
        system::set_now(self.clock);
        let until = process.began + self.clock;
        process.runtime.block_on(async move {
            let missed = until.duration_since(Instant::now()).saturating_sub(2 * step);
            if !missed.is_zero() {
                // It was paused: the first look at the clock tells it.
                tokio::time::advance(missed).await;
            }
            tokio::time::sleep_until(until).await;
        });
    }

    /// A task of the process, which dies with it.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.process.as_ref().expect("it runs").runtime.spawn(task);
    }

    /// Asks the process to stop in good order.
    pub(crate) fn ask_to_stop(&self) {
        if let Some(process) = &self.process {
            process.stops.notify_one();
        }
    }

    /// The process dies. What the system has of it stays.
    pub(crate) fn kill(&mut self) {
        self.drop_process();
        self.machine.disk.release();
        self.net.listens_no_more(self.number);
    }

    /// The machine loses its power: what was not on disk is gone, and nobody hears of it.
    pub(crate) fn lose_power(&mut self) {
        self.net.power_off(self.number);
        self.drop_process();
        self.restarts += 1;
        let seed = (self.number as u64) << 32 | self.restarts;
        self.machine.disk = self.machine.disk.restart(Faults { seed, ..Faults::default() });
    }

    /// The machine gets a blank disk, and its process joins a cluster that is there.
    pub(crate) fn begin_anew(&mut self) {
        assert!(self.process.is_none(), "it was killed");
        drop(self.replace_disk(None));
        if self.data.exists() {
            std::fs::remove_dir_all(&self.data).expect("it is ours");
        }
        if !self.has_begun_anew {
            self.flags.push("--initial-cluster-state=existing".to_owned());
        }
        self.has_begun_anew = true;
    }

    fn drop_process(&mut self) {
        let _here = self.machine.enter();
        drop(self.process.take());
    }
}

async fn live(config: Config, seen: Arc<Seen>, told: Arc<Mutex<Told>>, stops: Arc<Notify>) {
    let serves_clients = config.roles.frontend;
    let ended = match frontend::Node::start_over(config, seen).await {
        Err(error) => error.to_string(),
        Ok(node) => {
            {
                let mut told = told.lock();
                told.life = Life::Serves;
                told.client = serves_clients.then(|| node.client());
            }
            let failed = tokio::select! {
                () = node.failed() => true,
                () = stops.notified() => false,
            };
            told.lock().client = None;
            node.shutdown().await;
            if failed { "a tier has stopped by itself".to_owned() } else { "it was asked to stop".to_owned() }
        }
    };
    let mut told = told.lock();
    (told.life, told.client) = (Life::Ended(ended), None);
}

/// What a host is started with.
pub(crate) fn flags(name: &str, role: Role, journals: &[String], directory: &Path) -> Vec<String> {
    let url = |name: &String| format!("http://{name}:{PEER_PORT}");
    let urls: Vec<_> = journals.iter().map(url).collect();
    let members: Vec<_> = journals.iter().map(|name| format!("{name}={}", url(name))).collect();
    let mut flags = vec![
        format!("--name={name}"),
        format!("--data-dir={}", directory.join(name).display()),
        "--heartbeat-interval=50".to_owned(),
        "--election-timeout=500".to_owned(),
        // The simulation's own memory is no measure.
        format!("--memory-limit-bytes={}", 1_u64 << 40),
        "--auto-compaction-retention=0".to_owned(),
        "--snapshot-after-bytes=65536".to_owned(),
        "--journal-retention-bytes=65536".to_owned(),
    ];
    if let Role::All | Role::Journal = role {
        flags.push(format!("--listen-peer-urls=http://127.0.0.1:{PEER_PORT}"));
        flags.push(format!("--initial-advertise-peer-urls=http://{name}:{PEER_PORT}"));
        flags.push(format!("--initial-cluster={}", members.join(",")));
    } else {
        flags.push(format!("--journal-endpoints={}", urls.join(",")));
    }
    match role {
        Role::All => {}
        Role::Journal => flags.push("--role=journal".to_owned()),
        Role::Frontend => flags.push("--role=frontend".to_owned()),
        Role::Memstore => flags.extend([
            "--role=memstore".to_owned(),
            format!("--listen-memstore-urls=http://127.0.0.1:{MEMSTORE_PORT}"),
            format!("--advertise-memstore-urls=http://{name}:{MEMSTORE_PORT}"),
        ]),
    }
    flags
}

/// What a host runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    All,
    Journal,
    Memstore,
    Frontend,
}
