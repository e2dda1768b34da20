//! Journals that come back without their data directory, as pods do whose volume is lost: the processes of the manifests in
//! `deploy/kubernetes`, with their command lines as they stand there.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use harness::clients::Clients;
use harness::tools;
use proto::etcdserverpb::{PutRequest, RangeRequest};
use tempfile::TempDir;

/// How long anything may take that is waited for.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// Keys that are put while one journal is down.
const KEYS: usize = 20;

/// A pod, whose address is one of the loopback's own.
struct Pod {
    name: String,
    command: Command,
    volume: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

/// The arguments of a manifest's container.
fn manifest(component: &str) -> Result<Vec<String>> {
    let path = format!("{}/../deploy/kubernetes/{component}.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let lines = text.lines().map(str::trim);
    let arguments: Vec<String> =
        lines.filter_map(|line| line.strip_prefix("- --")).map(|flag| format!("--{flag}")).collect();
    ensure!(!arguments.is_empty(), "{path} has no arguments");
    Ok(arguments)
}

/// A setting of the configuration map.
fn setting(name: &str) -> Result<String> {
    let path = format!("{}/../deploy/kubernetes/kustomization.yaml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let value =
        text.lines().find_map(|line| line.trim().strip_prefix("- ")?.strip_prefix(&format!("{name}=")));
    Ok(value.with_context(|| format!("{name} in {path}"))?.to_owned())
}

/// The pods, and the addresses that stand for their names.
struct Deployment {
    journals: Vec<Pod>,
    memstores: Vec<Pod>,
    frontend: Pod,
    /// Where the frontend is reached.
    client: String,
    addresses: Addresses,
    _volumes: TempDir,
}

/// Addresses of the loopback that no other test takes: their first three bytes, and the last one of the first.
struct Addresses(String, usize);

impl Addresses {
    fn new() -> Addresses {
        static DEPLOYMENTS: AtomicUsize = AtomicUsize::new(0);
        let id = std::process::id();
        let first = 1 + 10 * DEPLOYMENTS.fetch_add(1, Ordering::Relaxed);
        Addresses(format!("127.{}.{}", 64 + (id >> 8) % 64, id % 256), first)
    }

    fn of(&self, host: usize) -> String {
        format!("{}.{}", self.0, self.1 + host)
    }

    /// The text with the addresses of the journals in place of their names.
    fn resolved(&self, text: &str) -> String {
        (0..3).fold(text.to_owned(), |text, at| {
            text.replace(&format!("mainstem-journal-{at}.mainstem-journal.mainstem.svc"), &self.of(at))
        })
    }
}

impl Pod {
    fn new(volumes: &Path, component: &str, name: &str, host: usize, addresses: &Addresses) -> Result<Pod> {
        let (volume, log) = (volumes.join(name), volumes.join(format!("{name}.log")));
        let address = addresses.of(host);
        let mut command = Command::new(tools::mainstem()?);
        command.arg(component);
        for argument in manifest(component)? {
            let argument = argument
                .replace("$(POD_NAME)", name)
                .replace("$(POD_IP)", &address)
                .replace("$(ZONE)", "")
                .replace("/var/lib/mainstem", &volume.display().to_string())
                .replace("0.0.0.0", &address);
            command.arg(addresses.resolved(&argument));
        }
        match component {
            "journal" => {
                command.env("ETCD_INITIAL_CLUSTER", addresses.resolved(&setting("ETCD_INITIAL_CLUSTER")?));
            }
            _ => {
                let journals = addresses.resolved(&setting("MAINSTEM_JOURNAL_ENDPOINTS")?);
                command.env("MAINSTEM_JOURNAL_ENDPOINTS", journals);
            }
        }
        command.current_dir(volumes).stdin(Stdio::null());
        Ok(Pod { name: name.to_owned(), command, volume, log, child: None })
    }

    fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        self.command.stdout(log.try_clone()?).stderr(log);
        self.child = Some(self.command.spawn().with_context(|| self.name.clone())?);
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        let mut child = self.child.take().with_context(|| format!("{} runs", self.name))?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// What was on its volume is gone.
    fn lose_volume(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.volume).with_context(|| self.volume.display().to_string())
    }

    /// Waits until the process has ended by itself.
    fn ended(&mut self) -> Result<ExitStatus> {
        let child = self.child.as_mut().with_context(|| format!("{} runs", self.name))?;
        let deadline = Instant::now() + WAIT_MAX;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!("{} does not end:\n{}", self.name, self.log())
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

impl Deployment {
    fn new() -> Result<Deployment> {
        let volumes = tempfile::Builder::new().prefix("pods-").tempdir()?;
        let addresses = Addresses::new();
        let pod =
            |component: &str, name: &str, host| Pod::new(volumes.path(), component, name, host, &addresses);
        Ok(Deployment {
            journals: (0..3)
                .map(|at| pod("journal", &format!("mainstem-journal-{at}"), at))
                .collect::<Result<_>>()?,
            memstores: (0..2)
                .map(|at| pod("memstore", &format!("mainstem-memstore-{at}"), 3 + at))
                .collect::<Result<_>>()?,
            frontend: pod("frontend", "mainstem-frontend", 5)?,
            client: format!("http://{}:2379", addresses.of(5)),
            addresses,
            _volumes: volumes,
        })
    }

    /// What the program prints for an operator who is at the frontend.
    fn mainstem(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(tools::mainstem()?);
        let output = command.args(arguments).args(["--endpoints", &self.client]).output()?;
        Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    }

    fn await_status(&self, health: &str) -> Result<()> {
        let deadline = Instant::now() + WAIT_MAX;
        let mut told = String::new();
        while Instant::now() < deadline {
            told = self.mainstem(&["status"])?;
            if told.starts_with(health) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("this is not {health:?}: {told}\n{}", self.logs())
    }

    fn logs(&self) -> String {
        let pods = self.journals.iter().chain(&self.memstores).chain([&self.frontend]);
        let end = |log: String| {
            let lines: Vec<&str> = log.lines().collect();
            lines[lines.len().saturating_sub(15)..].join("\n")
        };
        pods.map(|pod| format!("-- {}\n{}", pod.name, end(pod.log()))).collect::<Vec<_>>().join("\n")
    }

    /// How many of the keys are there.
    async fn count(&self) -> Result<i64> {
        let request = || RangeRequest {
            key: "kept/".into(),
            range_end: "kept0".into(),
            count_only: true,
            ..RangeRequest::default()
        };
        let deadline = Instant::now() + WAIT_MAX;
        loop {
            match Clients::new(&self.client)?.kv.range(request()).await {
                Ok(answer) => return Ok(answer.into_inner().count),
                Err(error) if deadline < Instant::now() => return Err(error).with_context(|| self.logs()),
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            }
        }
    }
}

#[tokio::test]
async fn a_lost_volume_loses_nothing_and_is_replaced_by_one_command() -> Result<()> {
    let mut pods = Deployment::new()?;
    pods.journals.iter_mut().chain(&mut pods.memstores).try_for_each(Pod::start)?;
    pods.frontend.start()?;
    pods.await_status("healthy: 3 of 3 voters")?;

    pods.journals[2].kill()?;
    let mut kv = Clients::new(&pods.client)?.kv;
    for at in 0..KEYS {
        let key = format!("kept/{at}").into();
        kv.put(PutRequest { key, value: "1".into(), ..PutRequest::default() }).await?;
    }
    for pod in pods.journals[..2].iter_mut().chain(&mut pods.memstores) {
        pod.kill()?;
    }
    pods.journals[1].lose_volume()?;
    pods.memstores.iter().try_for_each(Pod::lose_volume)?;
    pods.journals[1].start()?;
    pods.journals[2].start()?;
    pods.memstores.iter_mut().try_for_each(Pod::start)?;

    // It ends at its start, or as soon as it is told.
    pods.journals[1].ended()?;
    let log = pods.journals[1].log();
    ensure!(log.contains("has already been bootstrapped"), "{log}");
    let url = format!("http://{}:2380", pods.addresses.of(1));
    let replace =
        ["member", "replace", "mainstem-journal-1", "--name=mainstem-journal-1", "--peer-urls", &url];
    ensure!(log.contains("mainstem member replace ") && log.contains(&url), "{log}");

    pods.journals[0].start()?;
    ensure!(pods.count().await? == KEYS as i64, "{}", pods.logs());
    pods.await_status("degraded: 2 of 3 voters, none may fail")?;
    pods.journals[1].start()?;
    pods.journals[1].ended()?;

    // The documented way back: one command, and the pod starts again on the command line that it has.
    let told = pods.mainstem(&replace)?;
    ensure!(told.contains("mainstem-journal-1 has left"), "{told}");
    pods.journals[1].lose_volume().or_else(|_| anyhow::Ok(()))?;
    pods.journals[1].start()?;
    pods.await_status("healthy: 3 of 3 voters")?;
    ensure!(pods.count().await? == KEYS as i64, "{}", pods.logs());
    Ok(())
}

#[tokio::test]
async fn a_member_with_the_volume_of_another_is_refused() -> Result<()> {
    let mut pods = Deployment::new()?;
    pods.journals.iter_mut().chain(&mut pods.memstores).try_for_each(Pod::start)?;
    pods.frontend.start()?;
    pods.await_status("healthy: 3 of 3 voters")?;
    pods.journals[..2].iter_mut().try_for_each(Pod::kill)?;
    let (first, second) = (pods.journals[0].volume.clone(), pods.journals[1].volume.clone());
    let aside = first.with_extension("aside");
    std::fs::rename(&first, &aside)?;
    std::fs::rename(&second, &first)?;
    std::fs::rename(&aside, &second)?;
    pods.journals[..2].iter_mut().try_for_each(Pod::start)?;
    for (at, other) in [(0, "mainstem-journal-1"), (1, "mainstem-journal-0")] {
        ensure!(pods.journals[at].ended()?.code() == Some(1));
        let log = pods.journals[at].log();
        let names =
            log.contains(&format!("({other})")) && log.contains(&format!("({})", pods.journals[at].name));
        ensure!(names && log.contains("two data directories may have been swapped"), "{log}");
    }
    Ok(())
}
