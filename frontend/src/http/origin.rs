//! Who may ask: browsers' origins (`--cors`) and the names this server is called by (`--host-whitelist`).
//!
//! A name that is not on the list is refused: a web page whose own name was pointed at this address ("DNS
//! rebinding") would otherwise speak for whoever looks at it.

use std::collections::BTreeSet;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, HOST, ORIGIN,
};
use http::{HeaderValue, Request, Response};

use super::Body;

/// A list of names, or any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Names {
    Any,
    These(BTreeSet<String>),
}

impl Names {
    /// From a flag: separated by commas; nothing, or a `*` among them, is any.
    pub(crate) fn parse(text: &str) -> Names {
        let names = text.split(',').filter(|name| !name.is_empty());
        let names: BTreeSet<String> = names.map(str::to_owned).collect();
        match names.is_empty() || names.contains("*") {
            true => Names::Any,
            false => Names::These(names),
        }
    }

    fn contain(&self, name: &str) -> bool {
        match self {
            Names::Any => true,
            Names::These(names) => names.contains(name),
        }
    }
}

/// The two lists.
#[derive(Clone, Debug)]
pub(crate) struct Origins {
    pub(crate) cors: Names,
    pub(crate) hosts: Names,
}

impl Origins {
    /// The name that a request calls this server by, when it is not on the list.
    pub(super) fn refuses_host(&self, request: &Request<()>) -> Option<String> {
        let header = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let authority = header.or_else(|| request.uri().authority().map(http::uri::Authority::as_str))?;
        let host = without_port(authority);
        (!self.hosts.contain(host)).then(|| host.to_owned())
    }

    /// Tells a browser that it may show the answer to the page that asked.
    pub(super) fn allow(&self, request: &Request<()>, response: &mut Response<Body>) {
        let Some(origin) = self.allowed(request.headers().get(ORIGIN)) else { return };
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        let methods = HeaderValue::from_static("POST, GET, OPTIONS, PUT, DELETE");
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        let names = HeaderValue::from_static("accept, content-type, authorization");
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names);
    }

    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        match &self.cors {
            Names::Any => Some(HeaderValue::from_static("*")),
            Names::These(_) => {
                origin.filter(|origin| origin.to_str().is_ok_and(|name| self.cors.contain(name))).cloned()
            }
        }
    }
}

fn without_port(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    };
    host.trim_matches(['[', ']'])
}

pub(super) fn unknown_host(host: &str) -> String {
    format!(
        "the request names the host {host:?}, which is not on the list of this server's names: \
         add it with --host-whitelist {host}"
    )
}
