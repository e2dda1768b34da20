//! What `mainstem bench` is told on its command line.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::admin::trust::Trust;

/// Puts a load on any store that speaks etcd's API, and measures what comes back.
#[derive(Debug, Parser)]
#[command(name = "bench", bin_name = "mainstem bench")]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) load: Load,
}

/// The kinds of load.
#[derive(Debug, Subcommand)]
pub(super) enum Load {
    /// Put values under keys of the key space.
    Put {
        #[command(flatten)]
        common: Common,
        /// Go through the key space in order instead of choosing keys at random.
        #[arg(long)]
        sequential: bool,
    },
    /// Get one key at a time.
    Range {
        #[command(flatten)]
        common: Common,
        /// Accept what the endpoint has, without asking how far the store is.
        #[arg(long)]
        serializable: bool,
    },
    /// Update keys as Kubernetes does: put if the revision is still the one known, else get.
    Txn {
        #[command(flatten)]
        common: Common,
    },
    /// Put values while others watch, and measure how long an event takes to reach each of them.
    Watch {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        watching: Watching,
    },
    /// What a Kubernetes API server does: guarded updates, gets, lists page by page, and watches.
    Mixed {
        #[command(flatten)]
        common: Common,
        #[command(flatten)]
        watching: Watching,
        /// Of a hundred operations, how many are gets of one key.
        #[arg(long, default_value_t = 30)]
        gets_percent: u32,
        /// Of a hundred operations, how many ask for a page of a list.
        #[arg(long, default_value_t = 2)]
        pages_percent: u32,
        /// Keys on a page.
        #[arg(long, default_value_t = 500)]
        page_keys: u32,
    },
}

/// Those who watch while others write.
#[derive(Debug, Clone, Args)]
pub(super) struct Watching {
    /// Watchers, each of the whole key space.
    #[arg(long, default_value_t = 10)]
    pub(super) watchers: usize,
}

/// What every kind of load needs to know.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Where the store listens: host:port or a URL. Connections are spread over them.
    #[arg(long = "endpoints", alias = "endpoint", value_delimiter = ',', default_value = "127.0.0.1:2379")]
    pub(super) endpoints: Vec<String>,
    #[command(flatten)]
    pub(super) trust: Trust,
    /// Clients, each with one request under way.
    #[arg(long, default_value_t = 100)]
    pub(super) clients: usize,
    /// Connections that the clients share.
    #[arg(long, default_value_t = 10)]
    pub(super) connections: usize,
    /// Threads that drive the connections.
    #[arg(long, default_value_t = 1)]
    pub(super) threads: usize,
    /// Bytes of a key.
    #[arg(long, default_value_t = 32)]
    pub(super) key_bytes: usize,
    /// Bytes of a value.
    #[arg(long, default_value_t = 256)]
    pub(super) value_bytes: usize,
    /// Keys in the key space.
    #[arg(long, default_value_t = 10_000)]
    pub(super) keys: usize,
    /// Put every key once before measuring.
    #[arg(long)]
    pub(super) load: bool,
    /// Operations a second, all clients together; 0: as many as they get answers for.
    #[arg(long, default_value_t = 0)]
    pub(super) rate: u32,
    /// How long to begin new operations, like 500ms, 10s, 5m; 10s unless there is a total.
    #[arg(long, value_parser = duration)]
    pub(super) duration: Option<Duration>,
    /// How many operations to begin.
    #[arg(long)]
    pub(super) total: Option<u64>,
    /// How long an operation may take before it counts as failed.
    #[arg(long, value_parser = duration, default_value = "10s")]
    pub(super) timeout: Duration,
    /// Print one JSON object instead of a table.
    #[arg(long)]
    pub(super) json: bool,
    /// Keys and values are chosen by chance that starts here.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
}

impl Arguments {
    /// Reads a command line, from `bench` on. Prints why it cannot, or the help that it asks for, and exits.
    pub fn read(command_line: &[String]) -> Self {
        Self::parse_from(command_line)
    }
}

impl Load {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Put { .. } => "put",
            Self::Range { .. } => "range",
            Self::Txn { .. } => "txn",
            Self::Watch { .. } => "watch",
            Self::Mixed { .. } => "mixed",
        }
    }

    pub(super) fn common(&self) -> &Common {
        match self {
            Self::Put { common, .. }
            | Self::Range { common, .. }
            | Self::Txn { common }
            | Self::Watch { common, .. }
            | Self::Mixed { common, .. } => common,
        }
    }

    pub(super) fn watchers(&self) -> usize {
        match self {
            Self::Watch { watching, .. } | Self::Mixed { watching, .. } => watching.watchers,
            Self::Put { .. } | Self::Range { .. } | Self::Txn { .. } => 0,
        }
    }

    /// The sentence for whoever asked for something that cannot be.
    pub(super) fn mistake(&self) -> Option<String> {
        let common = self.common();
        let zero = [
            ("--clients", common.clients),
            ("--connections", common.connections),
            ("--threads", common.threads),
            ("--keys", common.keys),
        ];
        if let Some((flag, _)) = zero.iter().find(|(_, value)| *value == 0) {
            return Some(format!("{flag} must be at least 1"));
        }
        if let Self::Mixed { gets_percent, pages_percent, page_keys, .. } = self {
            if gets_percent.saturating_add(*pages_percent) > 100 {
                return Some("--gets-percent and --pages-percent are more than 100 together".to_owned());
            }
            if *page_keys == 0 {
                return Some("--page-keys must be at least 1".to_owned());
            }
        }
        None
    }
}

/// A number with its unit, as in 500ms, 1.5s, 5m, 2h.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    let seconds = match &text[digits.len()..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err("give a number and its unit: ms, s, m or h".to_owned()),
    };
    let number: f64 = digits.parse().map_err(|_| format!("{digits:?} is not a number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_unit() {
        for (text, milliseconds) in [("500ms", 500), ("10s", 10_000), ("1.5s", 1_500), ("2m", 120_000)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "10", "s", "-1s", "10 parsecs", "1e400s"] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
