//! Nodes as processes: a thread reads what each writes, and a thread writes what each shall read.
//!
//! Whatever happens, they are killed when this is dropped, each by its own id.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use super::Trouble;
use super::session::Nodes;

/// What waits to be read by one node. Full: what comes is dropped, as by a network.
const INPUT_MAX: usize = 4_096;

/// A longer line is no message.
const LINE_BYTES_MAX: u64 = 8 << 20;

/// What the threads tell the one that decides. Its queue is bounded, and who finds it full waits.
#[derive(Debug)]
pub enum Event {
    Line {
        node: usize,
        line: String,
    },
    BadLine {
        node: usize,
        why: String,
    },
    /// The process closed its output: it ended, if nobody killed it.
    Closed {
        node: usize,
        life: u64,
    },
    /// A signal asks the run to end.
    Stop,
}

pub struct Processes {
    bin: PathBuf,
    arguments: Vec<OsString>,
    logs: Option<PathBuf>,
    events: SyncSender<Event>,
    running: Vec<Option<Running>>,
    lives: u64,
}

struct Running {
    child: Child,
    input: SyncSender<String>,
    life: u64,
}

impl Processes {
    pub fn new(
        bin: PathBuf,
        arguments: Vec<OsString>,
        logs: Option<PathBuf>,
        count: usize,
        events: SyncSender<Event>,
    ) -> Self {
        let running = std::iter::repeat_with(|| None).take(count).collect();
        Self { bin, arguments, logs, events, running, lives: 0 }
    }

    /// How a node ended that nobody killed. A node that was killed since has another life.
    pub fn ended_by_itself(&mut self, node: usize, life: u64) -> Option<Trouble> {
        let running = self.running[node].as_mut().filter(|running| running.life == life)?;
        // One that is about to end does so with its own status. One that closed its output and stays is as wrong.
        let _ = running.child.kill();
        let how = running.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let hint = match &self.logs {
            Some(logs) => format!("its log is {}", logs.join(format!("n{node}.log")).display()),
            None => "--logs keeps what it writes to standard error".to_owned(),
        };
        Some(Trouble(format!("node n{node} ended by itself ({how}); {hint}")))
    }

    fn spawn(&self, node: usize) -> std::io::Result<Child> {
        let errors = match &self.logs {
            Some(logs) => {
                let log = logs.join(format!("n{node}.log"));
                Stdio::from(File::options().create(true).append(true).open(log)?)
            }
            None => Stdio::null(),
        };
        Command::new(&self.bin)
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors)
            // A terminal's Ctrl-C is for the runner, which ends them itself.
            .process_group(0)
            .spawn()
    }

    fn signal(&self, node: usize, signal: Signal) {
        if let Some(running) = &self.running[node] {
            // It is not waited for before it is taken out, so the id is still its own.
            let _ = kill_process(Pid::from_child(&running.child), signal);
        }
    }
}

impl Nodes for Processes {
    fn start(&mut self, node: usize) -> Result<(), Trouble> {
        let mut child = self.spawn(node).map_err(|error| {
            Trouble(format!("node n{node}: cannot start {}: {error}", self.bin.display()))
        })?;
        self.lives += 1;
        let life = self.lives;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let (stdin, stdout) = (stdin.expect("it is piped"), stdout.expect("it is piped"));
        let (input, lines) = sync_channel(INPUT_MAX);
        self.running[node] = Some(Running { child, input, life });
        let events = self.events.clone();
        thread::spawn(move || write(stdin, &lines));
        thread::spawn(move || read(node, life, stdout, &events));
        Ok(())
    }

    fn send(&mut self, node: usize, line: String) -> bool {
        self.running[node].as_ref().is_some_and(|running| running.input.try_send(line).is_ok())
    }

    fn kill(&mut self, node: usize) {
        if let Some(mut running) = self.running[node].take() {
            // Either fails only for one that is gone.
            let _ = running.child.kill();
            let _ = running.child.wait();
        }
    }

    fn pause(&mut self, node: usize) {
        self.signal(node, Signal::STOP);
    }

    fn resume(&mut self, node: usize) {
        self.signal(node, Signal::CONT);
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        (0..self.running.len()).for_each(|node| self.kill(node));
    }
}

/// Ends with the process, or when nobody has a line for it any more.
fn write(mut stdin: ChildStdin, lines: &Receiver<String>) {
    while let Ok(mut line) = lines.recv() {
        line.push('\n');
        if stdin.write_all(line.as_bytes()).is_err() {
            return;
        }
    }
}

/// Ends with the process, or when nobody listens any more. A last line without an end was cut by a kill.
fn read(node: usize, life: u64, stdout: ChildStdout, events: &SyncSender<Event>) {
    let mut stdout = BufReader::new(stdout);
    loop {
        let mut line = Vec::new();
        let count = stdout.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        let ended = !matches!(count, Ok(count) if count > 0);
        let event = if ended || line.last() != Some(&b'\n') && (line.len() as u64) < LINE_BYTES_MAX {
            let _ = events.send(Event::Closed { node, life });
            return;
        } else if line.pop() != Some(b'\n') {
            Event::BadLine { node, why: format!("a line has more than {LINE_BYTES_MAX} bytes") }
        } else {
            match String::from_utf8(line) {
                Ok(line) => Event::Line { node, line },
                Err(_) => Event::BadLine { node, why: "a line is no UTF-8".to_owned() },
            }
        };
        if events.send(event).is_err() {
            return;
        }
    }
}
