//! Runs a program that speaks Maelstrom's protocol, and says whether what it told its clients can be true.
//!
//! Exits with 0 if it can, 1 if it cannot or not everything could be checked, 2 if the run itself went wrong.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use maelstrom::check::Verdict;
use maelstrom::runner::drive::{self, Name};
use maelstrom::runner::faults::Kind;
use maelstrom::runner::settings::{Links, Settings};

#[derive(Debug, Parser)]
#[command(
    about = "Runs a program that speaks Maelstrom's protocol under faults, and checks what its clients were told"
)]
struct Arguments {
    /// The program; every node is one process of it.
    #[arg(long)]
    bin: PathBuf,
    #[arg(long, value_parser = workload)]
    workload: Name,
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    node_count: u16,
    /// Seconds of operations, before faults end and final reads begin.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    time_limit: f64,
    /// Operations a second, of all clients together.
    #[arg(long, default_value_t = 20.0, value_parser = rate)]
    rate: f64,
    /// Clients [default: two a node].
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1000))]
    concurrency: Option<u16>,
    /// Mean latency of a message, in milliseconds; exponential.
    #[arg(long, default_value_t = 0)]
    latency: u32,
    /// How many of the messages between nodes are lost, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    loss: f64,
    /// How many of the messages between nodes arrive twice, from 0 to 1.
    #[arg(long, default_value_t = 0.0, value_parser = share)]
    duplicate: f64,
    /// Messages between nodes overtake each other.
    #[arg(long)]
    reorder: bool,
    /// Faults: any of partition, kill, pause.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    nemesis: Vec<Kind>,
    /// About how many seconds a fault lasts, and as long there is none.
    #[arg(long, default_value_t = 5.0, value_parser = rate)]
    nemesis_interval: f64,
    /// Quiet seconds between the last fault and the final reads.
    #[arg(long, default_value_t = 10.0, value_parser = seconds)]
    heal: f64,
    /// What decides all that is left to chance [default: by chance].
    #[arg(long)]
    seed: Option<u64>,
    /// A folder for the nodes' standard errors and the history.
    #[arg(long)]
    logs: Option<PathBuf>,
    /// The program's own arguments.
    #[arg(last = true)]
    arguments: Vec<OsString>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let name = arguments.workload;
    let settings = settings(arguments);
    print(&format!(
        "{name:?}: {} nodes, {:?} at {}/s, {} clients, seed {}",
        settings.node_count, settings.time_limit, settings.rate, settings.concurrency, settings.seed
    ));
    match drive::run(name, settings) {
        Ok(report) => {
            print(&report.to_string());
            ExitCode::from(if report.verdict() == Verdict::Valid { 0 } else { 1 })
        }
        Err(trouble) => {
            print(&format!("\nTROUBLE: {trouble}"));
            ExitCode::from(2)
        }
    }
}

/// Whoever reads the verdict may have gone.
fn print(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

fn settings(arguments: Arguments) -> Settings {
    let node_count = usize::from(arguments.node_count);
    Settings {
        bin: arguments.bin,
        arguments: arguments.arguments,
        logs: arguments.logs,
        node_count,
        time_limit: Duration::from_secs_f64(arguments.time_limit),
        rate: arguments.rate,
        concurrency: arguments.concurrency.map_or(2 * node_count, usize::from),
        links: Links {
            latency: Duration::from_millis(u64::from(arguments.latency)),
            loss: arguments.loss,
            duplicate: arguments.duplicate,
            reorder: arguments.reorder,
        },
        nemesis: arguments.nemesis,
        nemesis_interval: Duration::from_secs_f64(arguments.nemesis_interval),
        heal: Duration::from_secs_f64(arguments.heal),
        seed: arguments.seed.unwrap_or_else(rand::random),
    }
}

fn workload(name: &str) -> Result<Name, String> {
    Ok(match name {
        "lin-kv" => Name::LinKv,
        "txn-list-append" => Name::TxnListAppend,
        "txn-rw-register" => Name::TxnRwRegister,
        "g-set" => Name::GSet,
        "pn-counter" => Name::PnCounter,
        "g-counter" => Name::GCounter,
        "broadcast" => Name::Broadcast,
        "kafka" => Name::Kafka,
        "unique-ids" => Name::UniqueIds,
        "echo" => Name::Echo,
        _ => {
            let known = "lin-kv, txn-list-append, txn-rw-register, g-set, pn-counter, g-counter, broadcast, kafka, \
                         unique-ids and echo";
            return Err(format!("the workloads are {known}"));
        }
    })
}

fn kind(name: &str) -> Result<Kind, String> {
    Kind::parse(name).ok_or_else(|| "faults are partition, kill and pause".to_owned())
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "it is a number from 0 to 1".to_owned())
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "it is a number of seconds, a day at most".to_owned())
}

fn rate(text: &str) -> Result<f64, String> {
    let rate = text.parse().ok().filter(|rate| (0.001..=100_000.0).contains(rate));
    rate.ok_or_else(|| "it is a number from 0.001 to 100000".to_owned())
}
