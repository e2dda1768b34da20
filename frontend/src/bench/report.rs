//! What is printed at the end: a table for a person, or one JSON object for a program.

use std::io::{self, Write};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::tally::{Operation, Tally};

const PERCENTILES: [(&str, f64); 4] = [("p50", 50.0), ("p90", 90.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Everything that was measured.
pub(super) struct Report {
    pub(super) load: &'static str,
    /// From the first operation to the last answer.
    pub(super) elapsed: Duration,
    /// The generator's own processor time meanwhile.
    pub(super) processor_time: Duration,
    pub(super) tally: Tally,
    /// How many events the watchers had to be told, all together.
    pub(super) events_expected: u64,
}

impl Report {
    pub(super) fn print(&self, out: &mut dyn Write) -> io::Result<()> {
        let tally = &self.tally;
        writeln!(
            out,
            "{}: {} operations in {:.2} s, {:.0} a second, {} failed",
            self.load,
            tally.operations(),
            self.elapsed.as_secs_f64(),
            self.per_second(tally.operations()),
            tally.failed()
        )?;
        let columns = PERCENTILES.iter().map(|(name, _)| *name).chain(["max"]);
        writeln!(out, "{:<10}{:>12}{}", "ms", "count", columns.map(right).collect::<String>())?;
        for (operation, latencies) in &tally.latencies {
            let row = nanoseconds(latencies).map(|(_, value)| right(&format!("{:.3}", value as f64 / 1e6)));
            writeln!(out, "{:<10}{:>12}{}", operation.name(), latencies.len(), row.collect::<String>())?;
        }
        if self.events_expected > 0 {
            let (events, expected) = (tally.events(), self.events_expected);
            writeln!(out, "{events} of {expected} events, {:.0} a second", self.per_second(events))?;
        }
        if tally.conflicts > 0 {
            writeln!(out, "{} updates found a newer revision and wrote nothing", tally.conflicts)?;
        }
        if tally.absent > 0 {
            writeln!(out, "{} gets or pages found nothing (--load puts every key first)", tally.absent)?;
        }
        for (kind, failures) in &tally.failures {
            writeln!(out, "failed: {} × {}: {}", failures.count, kind.name(), failures.text)?;
        }
        writeln!(
            out,
            "own CPU: {:.2} µs for an operation or event, {:.0} % of a core",
            self.processor_microseconds(),
            100.0 * self.processor_time.as_secs_f64() / self.elapsed.as_secs_f64()
        )
    }

    pub(super) fn print_json(&self, out: &mut dyn Write) -> io::Result<()> {
        let tally = &self.tally;
        let latencies: Map<_, _> = tally.latencies.iter().map(latency).collect();
        let failures: Map<_, _> = (tally.failures.iter())
            .map(|(kind, failures)| (kind.name(), json!({"count": failures.count, "text": failures.text})))
            .collect();
        let report = json!({
            "load": self.load,
            "seconds": self.elapsed.as_secs_f64(),
            "operations": tally.operations(),
            "operations_per_second": self.per_second(tally.operations()),
            "latency_us": latencies,
            "failed": tally.failed(),
            "failures": failures,
            "conflicts": tally.conflicts,
            "absent": tally.absent,
            "events": tally.events(),
            "events_expected": self.events_expected,
            "events_per_second": self.per_second(tally.events()),
            "own_cpu_seconds": self.processor_time.as_secs_f64(),
            "own_cpu_us_per_operation": self.processor_microseconds(),
        });
        writeln!(out, "{report}")
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / self.elapsed.as_secs_f64()
    }

    /// Failures have cost something too.
    fn processor_microseconds(&self) -> f64 {
        let all = self.tally.operations() + self.tally.events() + self.tally.failed();
        self.processor_time.as_secs_f64() * 1e6 / all.max(1) as f64
    }
}

fn latency((operation, latencies): (&Operation, &Histogram<u64>)) -> (String, Value) {
    let mut figures: Map<_, _> =
        nanoseconds(latencies).map(|(name, value)| (name.to_owned(), json!(value as f64 / 1e3))).collect();
    figures.insert("count".to_owned(), json!(latencies.len()));
    (operation.name().to_owned(), Value::Object(figures))
}

fn nanoseconds(latencies: &Histogram<u64>) -> impl Iterator<Item = (&'static str, u64)> {
    let percentiles = PERCENTILES.iter().map(|(name, rank)| (*name, latencies.value_at_percentile(*rank)));
    percentiles.chain([("max", latencies.max())])
}

fn right(text: &str) -> String {
    format!("{text:>12}")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use expect_test::{Expect, expect};

    use super::super::failure::Failure;
    use super::super::tally::Answer;
    use super::*;

    fn report() -> Report {
        let mut tally = Tally::default();
        for milliseconds in 1..=100 {
            let latency = Duration::from_millis(milliseconds);
            tally.succeed(Operation::Update, Answer::Plain, latency, Instant::now());
        }
        tally.succeed(Operation::Update, Answer::Conflict, Duration::from_secs(1), Instant::now());
        tally.succeed(Operation::Event, Answer::Plain, Duration::from_millis(2), Instant::now());
        for _ in 0..2 {
            tally.fail(Failure::status(tonic::Code::Unavailable, "etcdserver: no leader".to_owned()));
        }
        let processor_time = Duration::from_millis(500);
        Report { load: "txn", elapsed: Duration::from_secs(2), processor_time, tally, events_expected: 100 }
    }

    fn check(print: impl Fn(&Report, &mut Vec<u8>) -> io::Result<()>, expected: Expect) {
        let mut out = Vec::new();
        print(&report(), &mut out).expect("memory can be written to");
        expected.assert_eq(&String::from_utf8(out).expect("it is text"));
    }

    #[test]
    fn a_person_reads_a_table() {
        check(
            |report, out| report.print(out),
            expect![[r#"
            txn: 101 operations in 2.00 s, 50 a second, 2 failed
            ms               count         p50         p90         p99       p99.9         max
            update             101      51.020      91.030     100.008    1000.342    1000.342
            event                1       2.001       2.001       2.001       2.001       2.001
            1 of 100 events, 0 a second
            1 updates found a newer revision and wrote nothing
            failed: 2 × Unavailable: etcdserver: no leader
            own CPU: 4807.69 µs for an operation or event, 25 % of a core
        "#]],
        );
    }

    #[test]
    fn a_program_reads_an_object() {
        check(
            |report, out| report.print_json(out),
            expect![[r#"
            {"absent":0,"conflicts":1,"events":1,"events_expected":100,"events_per_second":0.5,"failed":2,"failures":{"Unavailable":{"count":2,"text":"etcdserver: no leader"}},"latency_us":{"event":{"count":1,"max":2000.895,"p50":2000.895,"p90":2000.895,"p99":2000.895,"p99.9":2000.895},"update":{"count":101,"max":1000341.503,"p50":51019.775,"p90":91029.503,"p99":100007.935,"p99.9":1000341.503}},"load":"txn","operations":101,"operations_per_second":50.5,"own_cpu_seconds":0.5,"own_cpu_us_per_operation":4807.692307692308,"seconds":2.0}
        "#]],
        );
    }
}
