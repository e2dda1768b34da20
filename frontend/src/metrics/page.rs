//! The text that Prometheus reads.
//!
//!     # HELP name what it is            one family,
//!     # TYPE name counter               written once,
//!     name{label="value"} 1             then its samples
//!
//! Families are told in the order in which they are written, each of them in one piece. In its other form a page is a
//! sequence of `MetricFamily` messages, as https://github.com/prometheus/client_model has them, each preceded by its
//! length.

use std::io::Write;

use bytes::Bytes;

use super::exposition::Format;
use super::protobuf;

/// What a family's samples mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        }
    }
}

/// A page being written.
#[derive(Default)]
pub(crate) struct Page {
    format: Format,
    bytes: Vec<u8>,
    name: &'static str,
    /// Of a page of messages: the family at hand.
    family: Option<protobuf::Family>,
}

impl Page {
    pub(crate) fn of(format: Format) -> Page {
        Page { format, ..Page::default() }
    }

    /// Begins a family: the samples that follow are its own.
    pub(crate) fn family(&mut self, name: &'static str, kind: Kind, help: &str) {
        self.name = name;
        match self.format {
            Format::Text => {
                self.line(format_args!("# HELP {name} {help}"));
                self.line(format_args!("# TYPE {name} {}", kind.name()));
            }
            Format::Protobuf => {
                self.end_family();
                self.family = Some(protobuf::Family::new(name, kind, help));
            }
        }
    }

    /// A sample of the family at hand. `labels` is `a="b",c="d"`, or nothing.
    pub(crate) fn sample(&mut self, labels: &str, value: f64) {
        match &mut self.family {
            Some(family) => family.sample(labels, value),
            None => self.named("", labels, value),
        }
    }

    /// A family of one sample.
    pub(crate) fn gauge(&mut self, name: &'static str, help: &str, value: f64) {
        self.family(name, Kind::Gauge, help);
        self.sample("", value);
    }

    /// A family of one sample.
    pub(crate) fn counter(&mut self, name: &'static str, help: &str, value: f64) {
        self.family(name, Kind::Counter, help);
        self.sample("", value);
    }

    /// The samples of one histogram. `buckets` holds each bound with what fell at or below it and above the one
    /// before; the last bound is infinite.
    pub(crate) fn histogram(&mut self, labels: &str, buckets: impl Iterator<Item = (f64, u64)>, sum: f64) {
        if let Some(family) = &mut self.family {
            return family.histogram(labels, buckets, sum);
        }
        let comma = if labels.is_empty() { "" } else { "," };
        let mut count = 0;
        for (bound, here) in buckets {
            count += here;
            let bound = Number(bound);
            let label = format!("{labels}{comma}le=\"{bound}\"");
            self.named("_bucket", &label, as_f64(count));
        }
        self.named("_sum", labels, sum);
        self.named("_count", labels, as_f64(count));
    }

    pub(crate) fn finish(mut self) -> Bytes {
        self.end_family();
        self.bytes.into()
    }

    #[cfg(test)]
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.finish().into()).expect("the format is text")
    }

    fn end_family(&mut self) {
        if let Some(family) = self.family.take() {
            family.end(&mut self.bytes);
        }
    }

    fn named(&mut self, suffix: &str, labels: &str, value: f64) {
        let name = self.name;
        let value = Number(value);
        match labels {
            "" => self.line(format_args!("{name}{suffix} {value}")),
            _ => self.line(format_args!("{name}{suffix}{{{labels}}} {value}")),
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.bytes, "{line}").expect("a vector takes whatever is written to it");
    }
}

/// A count as the format wants it. Counts above 2^53 lose their last digits, as in every Prometheus client.
#[allow(clippy::cast_precision_loss)]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

/// A number as Prometheus writes it.
struct Number(f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            infinite if infinite == f64::INFINITY => f.write_str("+Inf"),
            // Bounds of buckets are compared as text, and Go's clients turn to exponents there.
            large if large >= 1e21 => write!(f, "{large:e}"),
            number => write!(f, "{number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn a_histogram_is_cumulative_and_ends_at_infinity() {
        let mut page = Page::default();
        page.family("took_seconds", Kind::Histogram, "How long it took.");
        let buckets = [(0.001, 1), (0.002, 0), (f64::INFINITY, 2)];
        page.histogram("op=\"put\"", buckets.into_iter(), 7.5);
        page.gauge("size", "Its size.", 3.0);
        expect![[r#"
            # HELP took_seconds How long it took.
            # TYPE took_seconds histogram
            took_seconds_bucket{op="put",le="0.001"} 1
            took_seconds_bucket{op="put",le="0.002"} 1
            took_seconds_bucket{op="put",le="+Inf"} 3
            took_seconds_sum{op="put"} 7.5
            took_seconds_count{op="put"} 3
            # HELP size Its size.
            # TYPE size gauge
            size 3
        "#]]
        .assert_eq(&page.text());
    }
}
