//! etcdctl, asked the same by a script of command lines on several stores, and what it printed and how it ended.

mod normal;
mod script;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use proto::etcdserverpb::{Member, MemberListRequest, StatusRequest};

use self::normal::Names;
use self::script::{Last, Line, Step};
use crate::clients::Clients;
use crate::tools;

/// A command that takes longer will not end.
const COMMAND_MAX: Duration = Duration::from_secs(120);

/// The member that scripts add, and where it would be if it were started. It is told among the others, in the order of
/// ids, which is chance's.
const NEWCOMER: (&str, &str) = ("newcomer", "http://127.0.0.1:1");

/// What one command did, without what may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub command: String,
    pub output: String,
    pub complaint: String,
    /// `None`: ended by our signal.
    pub code: Option<i32>,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Outcome { output, complaint, code, .. } = self;
        let code = code.map_or("our signal".to_owned(), |code| format!("exit code {code}"));
        write!(f, "{code}\n  stdout {output:?}\n  stderr {complaint:?}")
    }
}

/// One etcdctl at one store.
pub struct Etcdctl {
    program: std::path::PathBuf,
    endpoint: String,
    names: Names,
    remembered: BTreeMap<String, String>,
    background: BTreeMap<String, (Line, Running)>,
}

impl Etcdctl {
    /// `version` is 3.6 or 3.7. The first endpoint is asked. Of a cluster of several members scripts know who leads it
    /// now ($leader), a member that does not ($other), and the other endpoints ($endpoints).
    ///
    /// # Errors
    /// When the program is missing or the store does not tell who it is.
    pub async fn new(version: &str, endpoints: &[String]) -> Result<Etcdctl> {
        let mut clients = Clients::new(&endpoints[0])?;
        let (cluster, members) = published(&mut clients).await?;
        let mut ids: Vec<u64> = members.iter().map(|member| member.id).collect();
        // An endpoint may be none of its members.
        for endpoint in endpoints {
            let list = Clients::new(endpoint)?.cluster.member_list(MemberListRequest::default()).await?;
            ids.push(list.into_inner().header.context("a list of members has a header")?.member_id);
        }
        let leader = clients.maintenance.status(StatusRequest::default()).await?.into_inner().leader;
        let mut names = Names::default();
        let urls = members.iter().flat_map(|member| &member.client_ur_ls).chain(endpoints);
        urls.for_each(|url| names.text(host(url), "endpoint"));
        names.id(cluster, "cluster");
        ids.into_iter().for_each(|id| names.id(id, "member"));
        members.iter().flat_map(|member| &member.peer_ur_ls).for_each(|url| names.text(url, "peer"));
        let mut remembered = BTreeMap::new();
        if members.len() > 1 {
            members.iter().for_each(|member| names.member(&member.name));
            names.newcomer(NEWCOMER);
            let other = members.iter().find(|member| member.id != leader).context("not all of them lead")?;
            let others: Vec<&str> = endpoints[1..].iter().map(|url| host(url)).collect();
            remembered.insert("leader".to_owned(), format!("{leader:x}"));
            remembered.insert("other".to_owned(), format!("{:x}", other.id));
            remembered.insert("endpoints".to_owned(), others.join(","));
        }
        let program = tools::judge(&format!("etcdctl-{version}"))?;
        let endpoint = host(&endpoints[0]).to_owned();
        Ok(Etcdctl { program, endpoint, names, remembered, background: BTreeMap::new() })
    }

    /// Runs a script to its end.
    ///
    /// # Errors
    /// When the script cannot be read, or a command does not end.
    pub fn run(&mut self, script: &str) -> Result<Vec<Outcome>> {
        let mut outcomes = Vec::new();
        for step in script::parse(script)? {
            match step {
                Step::Run(line) => {
                    let text = line.text.clone();
                    outcomes.extend(self.line(line).with_context(|| text)?);
                }
                Step::End { name, lines } => {
                    let (line, mut running) =
                        self.background.remove(&name).context("nothing runs by this name")?;
                    running.read_lines(lines).with_context(|| line.text.clone())?;
                    outcomes.push(self.outcome(&line, running.terminate()?));
                }
            }
        }
        ensure!(self.background.is_empty(), "the script leaves {:?} alone", self.background.keys());
        Ok(outcomes)
    }

    fn line(&mut self, line: Line) -> Result<Option<Outcome>> {
        let mut running = self.start(&line)?;
        let ended = match &line.last {
            Last::ByItself => running.end()?,
            Last::Telling(name) => {
                let ended = running.end()?;
                self.remember(name, &ended)?;
                ended
            }
            Last::AfterLines(lines) => {
                running.read_lines(*lines)?;
                running.terminate()?
            }
            Last::Background { name, lines } => {
                running.read_lines(*lines)?;
                self.background.insert(name.clone(), (line, running));
                return Ok(None);
            }
        };
        Ok(Some(self.outcome(&line, ended)))
    }

    fn start(&self, line: &Line) -> Result<Running> {
        let words = line.words.iter().map(|word| {
            let known = self.remembered.iter();
            known.fold(word.clone(), |word, (name, text)| word.replace(&format!("${name}"), text))
        });
        let mut command = Command::new(&self.program);
        // The machine may be busy: etcdctl's own patience of five seconds is not what is tested.
        command.args(["--command-timeout=60s", "--endpoints", &self.endpoint]).args(words);
        Running::start(command, &line.input)
    }

    /// A lease's id is chosen by the store.
    fn remember(&mut self, name: &str, ended: &Ended) -> Result<()> {
        let output = String::from_utf8_lossy(&ended.output);
        let told =
            output.split_whitespace().nth(1).with_context(|| format!("nothing to remember: {ended:?}"))?;
        if let Ok(id) = u64::from_str_radix(told, 16) {
            self.names.id(id, name);
        }
        self.remembered.insert(name.to_owned(), told.to_owned());
        Ok(())
    }

    fn outcome(&self, line: &Line, ended: Ended) -> Outcome {
        let written = |as_what: &str| line.words.iter().any(|word| word == as_what);
        let output = match () {
            () if written("table") => normal::table(&ended.output, &self.names),
            () if written("protobuf") => normal::protobuf(&ended.output),
            () => normal::text(&ended.output, &self.names),
        };
        let complaint = normal::text(&ended.complaint, &self.names);
        Outcome { command: line.text.clone(), output, complaint, code: ended.code }
    }
}

fn host(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

/// The cluster, and its members once all have said where clients reach them, which a member does
/// after it has begun to serve.
async fn published(clients: &mut Clients) -> Result<(u64, Vec<Member>)> {
    let deadline = Instant::now() + COMMAND_MAX;
    loop {
        let request = MemberListRequest { linearizable: true };
        let list = clients.cluster.member_list(request).await?.into_inner();
        let header = list.header.context("a list of members has a header")?;
        if list.members.iter().all(|member| !member.client_ur_ls.is_empty()) {
            return Ok((header.cluster_id, list.members));
        }
        ensure!(Instant::now() < deadline, "some members do not publish themselves: {:?}", list.members);
        // There is no event to wait for in other processes.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The lines that were refused and should not have been, or the other way round, and those that a script ends
/// before they have told everything: chance would decide what they tell.
#[must_use]
pub fn not_as_marked(outcomes: &[Outcome]) -> String {
    let wrong = outcomes.iter().filter(|outcome| {
        let refused = outcome.code.is_some_and(|code| code != 0);
        let lines = outcome.command.rsplit_once(" ... ").map(|(_, lines)| lines.to_owned());
        let told = outcome.output.lines().count().to_string();
        refused != outcome.command.starts_with("! ") || lines.is_some_and(|lines| lines != told)
    });
    wrong.map(|outcome| format!("\n{}\n{outcome}\n", outcome.command)).collect()
}

#[derive(Debug)]
struct Ended {
    output: Vec<u8>,
    complaint: Vec<u8>,
    code: Option<i32>,
}

/// A command that was started. Dropping it kills it.
struct Running {
    child: Child,
    output: Vec<u8>,
    more_output: Receiver<Vec<u8>>,
    complaint: Receiver<Vec<u8>>,
}

impl Running {
    fn start(mut command: Command, input: &str) -> Result<Running> {
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("ETCD") {
                command.env_remove(variable);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("etcdctl starts")?;
        let mut stdin = child.stdin.take().expect("it is piped");
        // Whoever does not read its input has ended, which is seen below.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let more_output = reader(child.stdout.take().expect("it is piped"));
        let complaint = reader(child.stderr.take().expect("it is piped"));
        Ok(Running { child, output: Vec::new(), more_output, complaint })
    }

    /// Reads on until there are so many lines, or the output is over.
    fn read_lines(&mut self, lines: usize) -> Result<()> {
        let deadline = Instant::now() + COMMAND_MAX;
        while bytecount(&self.output) < lines {
            match self.more_output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.output.extend(bytes),
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    bail!("waiting for {lines} lines after {:?}", String::from_utf8_lossy(&self.output))
                }
            }
        }
        Ok(())
    }

    fn terminate(self) -> Result<Ended> {
        Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status()?;
        self.end()
    }

    /// Its outputs end with it.
    fn end(mut self) -> Result<Ended> {
        self.read_lines(usize::MAX)?;
        let complaint = self.complaint.iter().flatten().collect();
        let code = self.child.wait()?.code();
        Ok(Ended { output: std::mem::take(&mut self.output), complaint, code })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn bytecount(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte == b'\n').count()
}

/// Unbounded, because a command's whole output is compared anyway and there is little of it.
fn reader(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
