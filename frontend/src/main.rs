//! The program: `mainstem`, or `etcd` where it is installed under that name.

mod allocator;
mod banner;
mod service_manager;

use std::io::Write;
use std::process::ExitCode;

use frontend::Node;
use frontend::admin::{member, partition};
use frontend::bench;
use frontend::config::{self, Command, Persona, Refusal, Start};
use frontend::status;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A command line that cannot be read, as in Go's programs.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    allocator::settle();
    let mut arguments = std::env::args();
    let persona = Persona::of(&arguments.next().unwrap_or_default());
    let mut arguments: Vec<String> = arguments.collect();
    if arguments.first().is_some_and(|first| first == "version") {
        "--version".clone_into(&mut arguments[0]);
    }
    if persona == Persona::Mainstem
        && let Some(code) = arguments.first().and_then(|first| command(first, &arguments))
    {
        return code;
    }
    match config::read(persona, &arguments, std::env::vars()) {
        Ok(Command::Help) => print(&config::usage(persona)),
        Ok(Command::Version(version)) => print(&version.lines()),
        Ok(Command::Start(start)) => run(persona, *start),
        Err(refusal) => refuse(persona, &refusal),
    }
}

/// What the program does besides being a store. `None`: this is no command.
fn command(name: &str, arguments: &[String]) -> Option<ExitCode> {
    let out = &mut std::io::stdout();
    Some(match name {
        "bench" => ended(bench::run(&bench::Arguments::read(arguments), out)),
        "partition" => ended(partition::run(&partition::Arguments::read(arguments), out)),
        "member" => ended(member::run(&member::Arguments::read(arguments), out)),
        "status" => match status::run(&status::Arguments::read(arguments), out) {
            // Fails where the cluster takes no writes, so that a script can rest on it.
            Ok(false) => ExitCode::FAILURE,
            told => ended(told),
        },
        _ => return None,
    })
}

fn ended<T>(done: Result<T, impl std::fmt::Display>) -> ExitCode {
    match done {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("mainstem: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    // A reader that has gone wants no more.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

fn complain(text: &str) {
    // There is nowhere to tell that telling failed.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn refuse(persona: Persona, refusal: &Refusal) -> ExitCode {
    match refusal {
        Refusal::Usage(text) => {
            let program = if persona == Persona::Etcd { "etcd" } else { "mainstem" };
            complain(&format!("mainstem: {text}; \"{program} --help\" lists the flags"));
            ExitCode::from(EXIT_USAGE)
        }
        Refusal::Configuration(text) => {
            complain(&format!("mainstem: {text}"));
            ExitCode::FAILURE
        }
    }
}

fn run(persona: Persona, start: Start) -> ExitCode {
    let outcome = start.log.install().map_err(|error| {
        anyhow::anyhow!("cannot write the log: {error}; {} (--log-outputs)", journal::advice(&error))
    });
    for warning in &start.warnings {
        tracing::warn!("{}", warning.0);
    }
    match outcome.and_then(|()| until_stopped(persona, start)) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("mainstem: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn until_stopped(persona: Persona, start: Start) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut signals = Signals::new()?;
        let data = start.config.storage.clone();
        let version = start.config.version.clone();
        // One of several members waits for the others.
        let node = tokio::select! {
            node = Node::start(start.config) => node?,
            name = signals.next() => {
                tracing::info!(signal = name, "received signal before it was ready; leaving");
                return Ok(ExitCode::SUCCESS);
            }
        };
        tracing::info!(
            cluster_id = format!("{:x}", node.summary().cluster),
            member_id = format!("{:x}", node.summary().member),
            revision = node.summary().revision.0,
            "ready to serve {}",
            if node.summary().roles.frontend { "client requests" } else { "other processes" }
        );
        if persona == Persona::Mainstem {
            print(&banner::text(node.summary(), &data, &version));
        }
        let ready = async {
            node.ready().await;
            service_manager::ready(node.summary());
            std::future::pending::<()>().await;
        };
        let failed = tokio::select! {
            name = signals.next() => {
                tracing::info!(signal = name, "received signal; shutting down");
                false
            }
            () = node.failed() => true,
            () = ready => unreachable!("it stays ready"),
        };
        service_manager::stopping();
        // Whoever asks twice does not want to wait.
        tokio::select! {
            () = node.shutdown() => {}
            name = signals.next() => {
                tracing::warn!(signal = name, "received another signal; leaving at once");
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    })
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Signals> {
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "terminated",
            _ = self.interrupt.recv() => "interrupt",
        }
    }
}
