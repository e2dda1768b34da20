//! The log, one record a line, in the two forms that etcd has.
//!
//!     {"level":"info","ts":"2026-11-21T03:24:28.344996Z","caller":"frontend/node.rs:120","msg":"ready","port":2379}
//!     2026-11-21T03:24:28.344996Z    info    frontend/node.rs:120    ready    {"port": 2379}
//!
//! Tools that collect etcd's logs look for the keys `level`, `ts`, `caller` and `msg`.

mod compressor;
mod record;
mod rotated_file;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::Mutex;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry};

use self::record::Record;
use self::rotated_file::RotatedFile;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Json,
    Console,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    Stderr,
    Stdout,
    /// Appended to.
    File(PathBuf),
}

/// What is logged, how, and where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    pub level: Level,
    pub format: Format,
    pub outputs: Vec<Output>,
    /// Of the file among them. `None`: it grows.
    pub rotation: Option<LogRotation>,
}

/// When a log file is full, and what becomes of full ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogRotation {
    pub file_bytes_max: u64,
    /// How many full files stay. `None`: all.
    pub files_max: Option<u64>,
    /// How long full files stay. `None`: for ever.
    pub age_max: Option<Duration>,
    /// True where full files are named by the local time, false where by UTC.
    pub is_local: bool,
    /// True where full files are compressed with gzip.
    pub compresses: bool,
}

impl LogConfig {
    /// Logs from now on, for the whole process. Once is enough; a program that embeds the store has its own log.
    ///
    /// # Errors
    /// A file that cannot be written to, or a log that there is already.
    pub fn install(&self) -> std::io::Result<()> {
        let sinks = self
            .outputs
            .iter()
            .map(|output| Sink::open(output, self.rotation))
            .collect::<Result<Vec<Sink>, _>>()?;
        let log = Log { level: self.level, format: self.format, sinks: Mutex::new(sinks) };
        let subscriber = Registry::default().with(log);
        tracing::subscriber::set_global_default(subscriber).map_err(std::io::Error::other)
    }
}

enum Sink {
    Stderr,
    Stdout,
    File(File),
    Rotated(RotatedFile),
}

impl Sink {
    fn open(output: &Output, rotation: Option<LogRotation>) -> std::io::Result<Sink> {
        Ok(match (output, rotation) {
            (Output::Stderr, _) => Sink::Stderr,
            (Output::Stdout, _) => Sink::Stdout,
            (Output::File(path), Some(rotation)) => Sink::Rotated(RotatedFile::open(path, rotation)?),
            (Output::File(path), None) => {
                Sink::File(OpenOptions::new().create(true).append(true).open(path)?)
            }
        })
    }

    fn write(&mut self, line: &[u8]) -> std::io::Result<()> {
        match self {
            Sink::Stderr => std::io::stderr().write_all(line),
            Sink::Stdout => std::io::stdout().write_all(line),
            Sink::File(file) => file.write_all(line),
            Sink::Rotated(file) => file.write(line),
        }
    }
}

struct Log {
    level: Level,
    format: Format,
    /// Records are few, so whoever logs writes.
    sinks: Mutex<Vec<Sink>>,
}

impl Log {
    fn wants(&self, metadata: &Metadata<'_>) -> bool {
        let most = match self.level {
            Level::Debug => tracing::Level::DEBUG,
            Level::Info => tracing::Level::INFO,
            Level::Warn => tracing::Level::WARN,
            Level::Error => tracing::Level::ERROR,
        };
        *metadata.level() <= most && is_for_operators(metadata, self.level)
    }
}

/// Our own records are. Of libraries, only what went wrong, since they narrate. What goes wrong in Raft comes back to
/// us as an error and is told once, by whoever handles it; Raft's own view of it helps those who debug.
fn is_for_operators(metadata: &Metadata<'_>, level: Level) -> bool {
    let is_of = |names: &[&str]| names.iter().any(|name| metadata.target().starts_with(name));
    if is_of(&["frontend", "memstore", "journal", "mainstem"]) {
        return true;
    }
    *metadata.level() <= tracing::Level::WARN && (level == Level::Debug || !is_of(&["openraft"]))
}

impl<S: Subscriber> Layer<S> for Log {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        self.wants(metadata)
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let record = Record::of(event);
        let line = match self.format {
            Format::Json => record.json(),
            Format::Console => record.console(),
        };
        for sink in self.sinks.lock().iter_mut() {
            // There is nowhere to tell that telling failed.
            let _ = sink.write(line.as_bytes());
        }
    }
}
