//! What rounds of one fault came to, as a line of a table.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use super::record::{CONNECTION_LOST, NO_ANSWER, NOT_CONNECTED, Record};
use super::{Fault, Settings};
use crate::server::Kind;

/// One round.
#[derive(Clone, Debug)]
pub struct Round {
    pub fault: Fault,
    pub acknowledged: usize,
    /// Writes that no member acknowledged before their deadline.
    pub failed: usize,
    pub gap: Duration,
    /// When the gap began, counted from the fault.
    pub gap_after: Duration,
    /// Attempts that were not acknowledged, by why.
    pub complaints: BTreeMap<String, u64>,
}

impl Round {
    pub(super) fn of(fault: Fault, record: &Record, began: Instant) -> Round {
        let (gap, gap_began) = record.longest_gap();
        let acknowledged = record.acknowledged().count();
        Round {
            fault,
            acknowledged,
            failed: record.written.len() - acknowledged,
            gap,
            gap_after: gap_began.saturating_duration_since(began),
            complaints: record.complaints.clone(),
        }
    }
}

impl Round {
    /// Attempts whose connection broke.
    #[must_use]
    pub fn connections_lost(&self) -> u64 {
        self.complaints.get(CONNECTION_LOST).copied().unwrap_or(0)
    }
}

/// Rounds of one fault.
#[derive(Clone, Debug)]
pub struct Report {
    settings: Settings,
    fault: Fault,
    rounds: Vec<Round>,
}

impl Report {
    #[must_use]
    pub fn new(settings: Settings, fault: Fault) -> Report {
        Report { settings, fault, rounds: Vec::new() }
    }

    pub fn add(&mut self, round: Round) {
        self.rounds.push(round);
    }

    #[must_use]
    pub fn acknowledged(&self) -> usize {
        self.rounds.iter().map(|round| round.acknowledged).sum()
    }

    /// The head of the table.
    #[must_use]
    pub fn head() -> &'static str {
        "| store | fault | rounds | acknowledged | gap, median | gap, longest | failed in 5 s | members' refusals | \
         connections lost | unanswered in 2 s |\n\
         | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gaps: Vec<Duration> = self.rounds.iter().map(|round| round.gap).collect();
        gaps.sort_unstable();
        let store = match self.settings.kind {
            Kind::Etcd36 => "etcd 3.6",
            Kind::Etcd37 => "etcd 3.7",
            Kind::Mainstem { .. } => "Mainstem",
            Kind::Tiers { .. } => "Mainstem in tiers",
        };
        let failed: usize = self.rounds.iter().map(|round| round.failed).sum();
        let (mut lost, mut unanswered, mut refused) = (0, 0, 0);
        for (complaint, count) in self.rounds.iter().flat_map(|round| &round.complaints) {
            match complaint.as_str() {
                CONNECTION_LOST => lost += count,
                NO_ANSWER => unanswered += count,
                NOT_CONNECTED => {}
                _ => refused += count,
            }
        }
        write!(
            f,
            "| {store} | {} | {} | {} | {} ms | {} ms | {failed} | {refused} | {lost} | {unanswered} |",
            self.fault.name(),
            self.rounds.len(),
            self.acknowledged(),
            gaps.get(gaps.len() / 2).map_or(0, Duration::as_millis),
            gaps.last().map_or(0, Duration::as_millis),
        )
    }
}
