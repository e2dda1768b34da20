//! The form in which a scraper wants a page, negotiated as client_golang does: Prometheus's text by default, or
//! delimited `MetricFamily` messages; either compressed with gzip.

use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap};

const PROTOBUF_TYPE: &str = "application/vnd.google.protobuf";
const PROTOBUF_MESSAGE: &str = "io.prometheus.client.MetricFamily";
/// How names with characters beyond the classic ones are escaped. No metric of this program has any.
const ESCAPINGS: [&str; 4] = ["underscores", "allow-utf-8", "dots", "values"];

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Text,
    /// `MetricFamily` messages, each preceded by its length.
    Protobuf,
}

/// What a response is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exposition {
    pub(crate) format: Format,
    pub(crate) gzip: bool,
    escaping: &'static str,
}

impl Exposition {
    /// The best form among those that a request accepts.
    pub(crate) fn negotiated(headers: &HeaderMap) -> Exposition {
        let accept = header(headers, ACCEPT);
        let mut clauses: Vec<Clause<'_>> = accept.split(',').map(Clause::parse).collect();
        clauses.sort_by(|one, other| other.weight.total_cmp(&one.weight));
        let (mut format, mut escaping) = (None, ESCAPINGS[0]);
        for clause in &clauses {
            let wanted = clause.parameter("escaping");
            escaping = ESCAPINGS.into_iter().find(|known| Some(*known) == wanted).unwrap_or(escaping);
            format = clause.format();
            if format.is_some() {
                break;
            }
        }
        Exposition { format: format.unwrap_or_default(), gzip: accepts_gzip(headers), escaping }
    }

    pub(crate) fn content_type(self) -> String {
        let escaping = self.escaping;
        match self.format {
            Format::Text => format!("text/plain; version=0.0.4; charset=utf-8; escaping={escaping}"),
            Format::Protobuf => {
                format!("{PROTOBUF_TYPE}; proto={PROTOBUF_MESSAGE}; encoding=delimited; escaping={escaping}")
            }
        }
    }
}

/// The first value, as text.
fn header(headers: &HeaderMap, name: http::HeaderName) -> &str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whether gzip is preferred to no compression.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted: Vec<Clause<'_>> = headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(Clause::parse)
        .collect();
    let weight = |encoding: &str| {
        let matching = accepted.iter().filter(|clause| clause.name == encoding || clause.name == "*");
        matching.map(|clause| clause.weight).fold(-1.0, f64::max)
    };
    let gzip = weight("gzip");
    gzip > 0.0 && gzip > weight("identity")
}

/// One of the alternatives of an `Accept` header: `name;parameter=value;q=0.5`.
struct Clause<'a> {
    name: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    weight: f64,
}

impl<'a> Clause<'a> {
    fn parse(text: &'a str) -> Clause<'a> {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let parameters = parts.filter_map(|part| part.split_once('='));
        let parameters: Vec<_> = parameters.map(|(name, value)| (name.trim(), value.trim())).collect();
        let weight =
            parameters.iter().find(|(name, _)| *name == "q").and_then(|(_, weight)| weight.parse().ok());
        Clause { name, parameters, weight: weight.unwrap_or(1.0) }
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    fn format(&self) -> Option<Format> {
        let version = self.parameter("version").unwrap_or_default();
        match self.name {
            PROTOBUF_TYPE => {
                let is_ours = self.parameter("proto") == Some(PROTOBUF_MESSAGE)
                    && self.parameter("encoding") == Some("delimited");
                is_ours.then_some(Format::Protobuf)
            }
            "text/plain" => matches!(version, "" | "0.0.4").then_some(Format::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn negotiated(name: http::HeaderName, value: &'static str) -> Exposition {
        Exposition::negotiated(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]))
    }

    #[test]
    fn a_format_is_chosen_as_client_golang_does() {
        let check = |accept: &'static str, expected: &str| {
            assert_eq!(negotiated(ACCEPT, accept).content_type(), expected, "{accept}");
        };
        let text = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";
        let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                        encoding=delimited; escaping=underscores";
        check("", text);
        check("*/*", text);
        check("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5", text);
        check(
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,\
             text/plain;version=0.0.4;q=0.3",
            protobuf,
        );
        check(
            "text/plain;version=0.0.4;q=0.8, \
             application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7",
            text,
        );
        check("application/vnd.google.protobuf;proto=other;encoding=delimited", text);
        check(
            "text/plain;version=1.0.0;escaping=allow-utf-8,*/*;q=0.1",
            "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8",
        );
    }

    #[test]
    fn a_page_is_compressed_for_those_who_prefer_that() {
        let check = |accept: &'static str, expected: bool| {
            assert_eq!(negotiated(ACCEPT_ENCODING, accept).gzip, expected, "{accept}");
        };
        check("gzip", true);
        check("gzip, deflate, br", true);
        check("zstd, gzip", true);
        check("gzip;q=0.5, identity;q=0.4", true);
        check("gzip;q=0.5, identity;q=0.9", false);
        check("gzip;q=0", false);
        check("identity", false);
        check("deflate", false);
        check("*", false);
        check("", false);
    }
}
