//! A store as a process: started, asked, killed and started again on the same data.

use std::ffi::OsString;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use crate::ports::free_port;
use crate::tiers::Tiers;
use crate::tools;

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(60);

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Etcd36,
    Etcd37,
    /// Ours, with so many partitions.
    Mainstem {
        partitions: usize,
    },
    /// Ours as processes: three journals and two memstores behind two frontends, the first of which is asked.
    Tiers {
        partitions: usize,
    },
}

impl Kind {
    fn program(self) -> Result<PathBuf> {
        match self {
            Kind::Etcd36 => tools::judge("etcd-3.6"),
            Kind::Etcd37 => tools::judge("etcd-3.7"),
            Kind::Mainstem { .. } | Kind::Tiers { .. } => tools::mainstem(),
        }
    }

    /// In one process and in tiers, with one partition and with several.
    #[must_use]
    pub fn ours() -> [Kind; 4] {
        let kinds = |partitions| [Kind::Mainstem { partitions }, Kind::Tiers { partitions }];
        let ([one, one_in_tiers], [several, several_in_tiers]) = (kinds(1), kinds(5));
        [one, several, one_in_tiers, several_in_tiers]
    }

    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Kind::Mainstem { .. } | Kind::Tiers { .. })
    }

    /// Keys that cut the keyspace so that the suites' own keys lie in all partitions.
    fn split_keys(self) -> Option<String> {
        let Kind::Mainstem { partitions } = self else { return None };
        let cuts = ["/registry/l", "b", "k3", "m"];
        (partitions > 1).then(|| cuts[..partitions - 1].join(","))
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    kind: Kind,
    program: PathBuf,
    arguments: Vec<OsString>,
    variables: Vec<(&'static str, OsString)>,
    port: u16,
    peer_port: u16,
    /// Where clients and members speak TLS: a further port, for asking whether it is well.
    health_port: Option<u16>,
    data: TempDir,
    child: Option<Child>,
    is_frozen: bool,
    /// The other processes of the store, which live and die with it.
    behind: Option<Box<Tiers>>,
}

impl Server {
    /// Starts a store with empty data on a free port of the loopback, and waits until it answers.
    ///
    /// # Errors
    /// When it cannot be started, or does not answer; the error has the end of its log.
    pub fn start(kind: Kind) -> Result<Server> {
        Server::start_with(kind, &[])
    }

    /// As `start`, with further arguments.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_with(kind: Kind, arguments: &[&str]) -> Result<Server> {
        let mut server = Server::prepare(kind)?;
        server.arguments(arguments);
        server.launch()?;
        Ok(server)
    }

    /// A store with empty data that is not started yet.
    ///
    /// # Errors
    /// When the program is missing, or there is no room.
    pub fn prepare(kind: Kind) -> Result<Server> {
        let data = tempfile::Builder::new().prefix("store-").tempdir().context("a folder for the data")?;
        let (port, peer_port) = (free_port()?, free_port()?);
        let (program, arguments) = (kind.program()?, Vec::new());
        let behind = match kind {
            Kind::Tiers { partitions } => Some(Box::new(Tiers::behind(partitions)?)),
            _ => None,
        };
        let child = None;
        let mut server = Server {
            kind,
            program,
            arguments,
            variables: Vec::new(),
            port,
            peer_port,
            health_port: None,
            data,
            child,
            is_frozen: false,
            behind: None,
        };
        if let Some(behind) = behind {
            server.arguments(&behind.frontend("front"));
            server.behind = Some(behind);
        }
        Ok(server)
    }

    /// Further arguments, from the next start on. Of a store in tiers they are for all its frontends.
    pub fn arguments(&mut self, arguments: &[impl AsRef<str>]) {
        self.arguments.extend(arguments.iter().map(|argument| OsString::from(argument.as_ref())));
        if let Some(behind) = &mut self.behind {
            behind.frontends_mut().iter_mut().for_each(|frontend| frontend.arguments(arguments));
        }
    }

    /// A variable of its environment, from the next start on.
    pub fn variable(&mut self, name: &'static str, value: impl Into<OsString>) {
        self.variables.push((name, value.into()));
    }

    /// Clients and members reach it by https:// alone. What it needs for that are arguments.
    ///
    /// # Errors
    /// When the system gives no port.
    pub fn secure(&mut self) -> Result<()> {
        self.health_port = Some(free_port()?);
        Ok(())
    }

    fn scheme(&self) -> &'static str {
        if self.health_port.is_some() { "https" } else { "http" }
    }

    /// Where other members reach it, where it serves any.
    #[must_use]
    pub fn peer_url(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.peer_port)
    }

    /// Whether it was started, and neither stopped, killed nor frozen since.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.child.is_some() && !self.is_frozen
    }

    /// Where clients reach it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}", self.scheme(), self.port)
    }

    /// All places where clients reach the store: a store in tiers has another frontend.
    #[must_use]
    pub fn endpoints(&self) -> Vec<String> {
        let others = self.behind.iter().flat_map(|behind| behind.endpoints());
        std::iter::once(self.endpoint()).chain(others).collect()
    }

    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// # Panics
    /// When it is not running.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the server runs").id()
    }

    /// Everything it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// `kill -9` of all its processes: no goodbye, nothing flushed.
    ///
    /// # Errors
    /// When the process is already gone.
    pub fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        self.is_frozen = false;
        child.kill()?;
        if let Some(behind) = &mut self.behind {
            behind.kill()?;
        }
        child.wait()?;
        Ok(())
    }

    /// SIGSTOP: its connections stay, and nobody answers on them.
    ///
    /// # Errors
    /// When the process is already gone.
    pub fn freeze(&mut self) -> Result<()> {
        self.is_frozen = true;
        self.signal("-STOP")
    }

    /// SIGCONT: it goes on, and does not know that time has passed.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn thaw(&mut self) -> Result<()> {
        self.is_frozen = false;
        self.signal("-CONT")
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let process = self.child.as_ref().context("the server is not running")?.id().to_string();
        let sent = Command::new("kill").args([signal, &process]).status()?;
        ensure!(sent.success(), "kill {signal}: {sent}");
        Ok(())
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Errors
    /// When it ends with another status than 0, or not in time.
    pub fn stop(&mut self) -> Result<()> {
        let mut child = self.child.take().context("the server is not running")?;
        Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                // etcd ends by the signal, ours with 0.
                let by_signal = status.code().is_none() && !self.kind.is_ours();
                return if status.success() || by_signal {
                    Ok(())
                } else {
                    bail!("{:?} ended with {status}:\n{}", self.kind, self.log_end())
                };
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill()?;
        bail!("{:?} did not end after SIGTERM:\n{}", self.kind, self.log_end())
    }

    /// Starts it again on the same data and port.
    ///
    /// # Errors
    /// As `start`.
    pub fn restart(&mut self) -> Result<()> {
        if self.child.is_some() {
            self.kill()?;
        }
        self.launch()
    }

    fn launch(&mut self) -> Result<()> {
        self.spawn()?;
        self.await_answer()
    }

    /// Starts the process, without waiting for an answer.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn spawn(&mut self) -> Result<()> {
        if let Some(behind) = &mut self.behind {
            behind.spawn()?;
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let client = self.endpoint();
        let peer = self.peer_url();
        let mut command = Command::new(&self.program);
        command
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .arg("--data-dir")
            .arg(self.data.path().join("data"));
        if !self.kind.is_ours() {
            command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]).args([
                "--initial-cluster",
                &format!("default={peer}"),
                "--log-level",
                "warn",
            ]);
        }
        if let Some(port) = self.health_port {
            command.arg(format!("--listen-metrics-urls=http://127.0.0.1:{port}"));
        }
        if let Some(split_keys) = self.kind.split_keys() {
            command.args(["--split-keys", &split_keys]);
        }
        command.args(&self.arguments).env_remove("ETCDCTL_ENDPOINTS").stdin(Stdio::null());
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(command.spawn().with_context(|| format!("start {}", self.program.display()))?);
        Ok(())
    }

    /// Waits until it serves linearizable reads.
    ///
    /// # Errors
    /// When it ends instead, or does not do so in time.
    ///
    /// # Panics
    /// When it was not started.
    pub fn await_answer(&mut self) -> Result<()> {
        // There is no event to wait for in another process that may come up or die: it is asked, often.
        let deadline = Instant::now() + START_MAX;
        while Instant::now() < deadline {
            if let Some(status) = self.child.as_mut().expect("just started").try_wait()? {
                self.child = None;
                bail!("{:?} ended with {status} instead of serving:\n{}", self.kind, self.log_end());
            }
            if healthy(self.health_port.unwrap_or(self.port)) {
                let others = self.behind.iter_mut().flat_map(|behind| behind.frontends_mut());
                return others.into_iter().try_for_each(Server::await_answer);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{:?} does not answer:\n{}", self.kind, self.log_end())
    }

    /// Whether `/readyz` says that it is.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let answer = probed(self.health_port.unwrap_or(self.port), "/readyz");
        answer.is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    }

    fn log_path(&self) -> PathBuf {
        self.data.path().join("log")
    }

    /// The last of what it logged.
    #[must_use]
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Whether `/health` says so: it answers only when linearizable reads work.
fn healthy(port: u16) -> bool {
    probed(port, "/health").is_some_and(|answer| answer.contains("\"health\":\"true\""))
}

/// The answer to a probe, head and body.
fn probed(port: u16, path: &str) -> Option<String> {
    use std::io::{Read, Write};
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_millis(200)).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}
