//! Plain HTTP on the addresses for peers: who is in the cluster and what version it speaks, as etcd tells its peers and
//! scripts that have only a peer URL.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use journal::{Journal, Member};
use parking_lot::Mutex;
use serde_json::json;
use tonic::body::Body;

use crate::version::Version;

const CLUSTER_ID: HeaderName = HeaderName::from_static("x-etcd-cluster-id");
/// Header by which an etcd process tells its id to other members.
const SERVER_FROM: HeaderName = HeaderName::from_static("x-server-from");
const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// What the pages are written from.
#[derive(Clone)]
pub(super) struct PeerPages {
    pub(super) journal: Journal,
    pub(super) version: Version,
    /// Ids by which etcd processes have spoken to this member. Each is told of once.
    pub(super) etcd_members: Arc<Mutex<BTreeSet<String>>>,
}

/// Upper bound on the ids that are told of: they come from outside.
const ETCD_MEMBERS_MAX: usize = 16;
/// Text by which etcd knows that another member speaks another protocol.
const INCOMPATIBLE: &str = "incompatible version\n";

impl PeerPages {
    /// Whether a request is for a page: anything that is no call of gRPC's.
    pub(super) fn serve(request: &Request<Body>) -> bool {
        let content = request.headers().get(CONTENT_TYPE);
        !content.is_some_and(|content| content.as_bytes().starts_with(b"application/grpc"))
    }

    pub(super) fn answer(&self, request: &Request<Body>) -> Response<Body> {
        let path = request.uri().path();
        if path.starts_with("/raft")
            && let Some(id) = request.headers().get(SERVER_FROM)
        {
            self.report_etcd(String::from_utf8_lossy(id.as_bytes()).into_owned());
            return error(StatusCode::PRECONDITION_FAILED, INCOMPATIBLE);
        }
        if !matches!(path, "/version" | "/members" | "/downgrade/enabled") {
            return error(StatusCode::NOT_FOUND, "404 page not found\n");
        }
        if *request.method() != Method::GET {
            let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
            return refused;
        }
        if path == "/version" {
            return page("application/json", self.version.document());
        }
        let status = self.journal.status_now();
        let mut response = match path {
            "/members" => page("application/json", members(&status.members)),
            // Nothing is ever on its way to an older version.
            _ => page("text/plain", "false".to_owned()),
        };
        let cluster = HeaderValue::from_str(&format!("{:x}", status.cluster)).expect("it is hexadecimal");
        response.headers_mut().insert(CLUSTER_ID, cluster);
        response
    }
}

impl PeerPages {
    fn report_etcd(&self, id: String) {
        let mut known = self.etcd_members.lock();
        if known.len() < ETCD_MEMBERS_MAX && known.insert(id.clone()) {
            tracing::error!(
                id,
                "an etcd process takes this process for a member of its cluster, and members of Mainstem and of etcd form no \
                 cluster: stop that process, remove it (etcdctl member remove) where it was added here, and start Mainstem's \
                 members alone"
            );
        }
    }
}

/// The list as Go writes it: fields that are empty are left out, and a newline ends it.
fn members(members: &[Member]) -> String {
    let one = |member: &Member| {
        // By hand, because the order of the names is part of what is compared.
        let mut text = format!("{{\"id\":{},\"peerURLs\":{}", member.id, json!(member.peer_urls));
        if member.learner {
            text += ",\"isLearner\":true";
        }
        if !member.name.is_empty() {
            text += &format!(",\"name\":{}", json!(member.name));
        }
        if !member.client_urls.is_empty() {
            text += &format!(",\"clientURLs\":{}", json!(member.client_urls));
        }
        text + "}"
    };
    format!("[{}]\n", members.iter().map(one).collect::<Vec<_>>().join(","))
}

fn error(code: StatusCode, text: &str) -> Response<Body> {
    let mut response = page("text/plain; charset=utf-8", text.to_owned());
    *response.status_mut() = code;
    response.headers_mut().insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    response
}

fn page(kind: &'static str, text: String) -> Response<Body> {
    let mut response = Response::new(Body::new(Full::new(Bytes::from(text))));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_told_as_go_writes_them() {
        let one = Member {
            id: 8_261_766_211_507_483_636,
            name: "default".to_owned(),
            peer_urls: vec!["http://127.0.0.1:2380".to_owned()],
            client_urls: vec!["http://127.0.0.1:2379".to_owned()],
            learner: false,
            awaits_vote: false,
        };
        let unstarted =
            Member { id: 7, name: String::new(), client_urls: Vec::new(), learner: true, ..one.clone() };
        assert_eq!(
            members(&[one, unstarted]),
            "[{\"id\":8261766211507483636,\"peerURLs\":[\"http://127.0.0.1:2380\"],\"name\":\"default\",\
             \"clientURLs\":[\"http://127.0.0.1:2379\"]},\
             {\"id\":7,\"peerURLs\":[\"http://127.0.0.1:2380\"],\"isLearner\":true}]\n"
        );
    }
}
