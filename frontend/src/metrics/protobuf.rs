//! Prometheus's `MetricFamily` messages, written field by field: nothing is kept but the family at hand.
//!
//!     MetricFamily  1 name   2 help   3 type   4 metric ...
//!     Metric        1 label ...   2 gauge { 1 value }   3 counter { 1 value }   7 histogram
//!     LabelPair     1 name   2 value
//!     Histogram     1 sample_count   2 sample_sum   3 bucket { 1 cumulative_count   2 upper_bound } ...

use prost::encoding::{WireType, encode_key, encode_varint};

use super::page::Kind;

/// A family that is being written.
pub(super) struct Family {
    kind: Kind,
    message: Vec<u8>,
}

impl Family {
    pub(super) fn new(name: &str, kind: Kind, help: &str) -> Family {
        let mut message = Vec::new();
        bytes(1, name.as_bytes(), &mut message);
        bytes(2, help.as_bytes(), &mut message);
        let number = match kind {
            Kind::Counter => 0,
            Kind::Gauge => 1,
            Kind::Histogram => 4,
        };
        varint(3, number, &mut message);
        Family { kind, message }
    }

    /// A metric of one value. `labels` is `a="b",c="d"`, or nothing.
    pub(super) fn sample(&mut self, labels: &str, value: f64) {
        let mut single = Vec::new();
        double(1, value, &mut single);
        let mut metric = label_pairs(labels);
        let field = if self.kind == Kind::Counter { 3 } else { 2 };
        bytes(field, &single, &mut metric);
        bytes(4, &metric, &mut self.message);
    }

    /// A histogram, whose last bucket is infinite and not told.
    pub(super) fn histogram(&mut self, labels: &str, buckets: impl Iterator<Item = (f64, u64)>, sum: f64) {
        let (mut count, mut told) = (0, Vec::new());
        for (bound, here) in buckets {
            count += here;
            if bound.is_finite() {
                let mut bucket = Vec::new();
                varint(1, count, &mut bucket);
                double(2, bound, &mut bucket);
                bytes(3, &bucket, &mut told);
            }
        }
        let mut histogram = Vec::new();
        varint(1, count, &mut histogram);
        double(2, sum, &mut histogram);
        histogram.append(&mut told);
        let mut metric = label_pairs(labels);
        bytes(7, &histogram, &mut metric);
        bytes(4, &metric, &mut self.message);
    }

    /// Appends the whole of it to a page, after its length.
    pub(super) fn end(self, page: &mut Vec<u8>) {
        encode_varint(self.message.len() as u64, page);
        page.extend_from_slice(&self.message);
    }
}

/// The labels of a sample as the text format has them, as fields of a `Metric`.
fn label_pairs(mut labels: &str) -> Vec<u8> {
    let mut metric = Vec::new();
    while let Some((name, rest)) = labels.split_once("=\"") {
        let (value, rest) = quoted(rest);
        let mut pair = Vec::new();
        bytes(1, name.as_bytes(), &mut pair);
        bytes(2, value.as_bytes(), &mut pair);
        bytes(1, &pair, &mut metric);
        labels = rest.trim_start_matches(',');
    }
    metric
}

/// A value up to its closing quote, without its escapes, and what comes after it.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut characters) = (String::new(), text.char_indices());
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return (value, &text[at + 1..]),
            '\\' => value
                .extend(characters.next().map(|(_, escaped)| if escaped == 'n' { '\n' } else { escaped })),
            plain => value.push(plain),
        }
    }
    (value, "")
}

fn bytes(field: u32, content: &[u8], message: &mut Vec<u8>) {
    encode_key(field, WireType::LengthDelimited, message);
    encode_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

fn varint(field: u32, number: u64, message: &mut Vec<u8>) {
    encode_key(field, WireType::Varint, message);
    encode_varint(number, message);
}

fn double(field: u32, number: f64, message: &mut Vec<u8>) {
    encode_key(field, WireType::SixtyFourBit, message);
    message.extend_from_slice(&number.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::metrics::exposition::Format;
    use crate::metrics::page::Page;

    #[derive(Clone, PartialEq, Message)]
    pub(crate) struct MetricFamily {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        help: String,
        #[prost(int32, tag = "3")]
        kind: i32,
        #[prost(message, repeated, tag = "4")]
        metrics: Vec<Metric>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Metric {
        #[prost(message, repeated, tag = "1")]
        labels: Vec<LabelPair>,
        #[prost(message, optional, tag = "2")]
        gauge: Option<Value>,
        #[prost(message, optional, tag = "3")]
        counter: Option<Value>,
        #[prost(message, optional, tag = "7")]
        histogram: Option<Histogram>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct LabelPair {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(string, tag = "2")]
        value: String,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Value {
        #[prost(double, tag = "1")]
        value: f64,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Histogram {
        #[prost(uint64, tag = "1")]
        count: u64,
        #[prost(double, tag = "2")]
        sum: f64,
        #[prost(message, repeated, tag = "3")]
        buckets: Vec<Bucket>,
    }

    #[derive(Clone, PartialEq, Message)]
    struct Bucket {
        #[prost(uint64, tag = "1")]
        count: u64,
        #[prost(double, tag = "2")]
        bound: f64,
    }

    fn labels(pairs: &[(&str, &str)]) -> Vec<LabelPair> {
        let pair = |(name, value): &(&str, &str)| LabelPair { name: (*name).into(), value: (*value).into() };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_page_of_messages_tells_what_the_text_tells() {
        let mut page = Page::of(Format::Protobuf);
        page.family("took_seconds", Kind::Histogram, "How long it took.");
        page.histogram("op=\"put\"", [(0.001, 1), (0.002, 0), (f64::INFINITY, 2)].into_iter(), 7.5);
        page.family("calls_total", Kind::Counter, "Calls.");
        page.sample("a=\"x,\\\"y\\\"\\n\\\\\",b=\"2\"", 3.0);
        page.sample("", 4.0);
        page.gauge("size", "Its size.", 5.0);
        let mut bytes = page.finish();
        let mut families = Vec::new();
        while !bytes.is_empty() {
            families.push(MetricFamily::decode_length_delimited(&mut bytes).expect("it is well formed"));
        }
        let family = |name: &str, help: &str, kind, metrics| MetricFamily {
            name: name.into(),
            help: help.into(),
            kind,
            metrics,
        };
        let buckets = vec![Bucket { count: 1, bound: 0.001 }, Bucket { count: 1, bound: 0.002 }];
        let histogram = Metric {
            labels: labels(&[("op", "put")]),
            histogram: Some(Histogram { count: 3, sum: 7.5, buckets }),
            ..Metric::default()
        };
        let calls = [(labels(&[("a", "x,\"y\"\n\\"), ("b", "2")]), 3.0), (Vec::new(), 4.0)];
        let calls = calls.map(|(labels, value)| Metric {
            labels,
            counter: Some(Value { value }),
            ..Metric::default()
        });
        let size = Metric { gauge: Some(Value { value: 5.0 }), ..Metric::default() };
        let expected = [
            family("took_seconds", "How long it took.", 4, vec![histogram]),
            family("calls_total", "Calls.", 0, calls.to_vec()),
            family("size", "Its size.", 1, vec![size]),
        ];
        assert_eq!(families, expected);
    }
}
