//! etcd's API as JSON over plain HTTP: the same requests to etcd 3.6 and to Mainstem with 1 and with 5 partitions, in
//! one process and in tiers, have the same status, the same content type and the same document, apart from who answers.
//!
//! `GATEWAY_KINDS=etcd` sets etcd against itself, which judges the judge.

use std::io::{BufRead, BufReader};

use anyhow::{Context, Result, ensure};
use harness::server::{Kind, Server};
use serde_json::{Value, json};

/// What one request was answered.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    status: u16,
    kind: Option<String>,
    lines: Vec<Value>,
}

/// A request, and what of its answer counts.
#[derive(Clone, Copy)]
struct Step {
    path: &'static str,
    body: &'static str,
    lines: Lines,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lines {
    /// The whole answer.
    All,
    /// So many of a stream that does not end by itself.
    First(usize),
    /// An answer whose message is each parser's own.
    WithoutMessage,
}

const fn post(path: &'static str, body: &'static str) -> Step {
    Step { path, body, lines: Lines::All }
}

const fn stream(path: &'static str, body: &'static str, lines: usize) -> Step {
    Step { path, body, lines: Lines::First(lines) }
}

const fn nonsense(path: &'static str, body: &'static str) -> Step {
    Step { path, body, lines: Lines::WithoutMessage }
}

const PUT_A: Step = post("/v3/kv/put", r#"{"key":"YQ==","value":"MQ=="}"#);

fn kinds() -> Vec<Kind> {
    if std::env::var("GATEWAY_KINDS").as_deref() == Ok("etcd") {
        return vec![Kind::Etcd36; 2];
    }
    Kind::ours().to_vec()
}

fn check(steps: &[Step]) -> Result<()> {
    let run = |kind| -> Result<Vec<Outcome>> {
        let server = Server::start(kind)?;
        steps
            .iter()
            .map(|step| ask(&server, *step).with_context(|| format!("{kind:?}: {}", step.body)))
            .collect()
    };
    let judge = run(Kind::Etcd36)?;
    for kind in kinds() {
        for ((ours, etcds), step) in run(kind)?.iter().zip(&judge).zip(steps) {
            let Step { path, body, .. } = step;
            ensure!(ours == etcds, "{kind:?}: {path} {body}\netcd: {etcds:?}\nours: {ours:?}");
        }
    }
    Ok(())
}

fn ask(server: &Server, step: Step) -> Result<Outcome> {
    let url = format!("http://127.0.0.1:{}{}", server.port(), step.path);
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let response = agent.post(url).send(step.body)?;
    let status = response.status().as_u16();
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().map(str::to_owned));
    let lines = BufReader::new(response.into_body().into_reader()).lines();
    let most = if let Lines::First(most) = step.lines { most } else { usize::MAX };
    let lines = lines.take(most).map(|line| Ok(alike(serde_json::from_str(&line?)?, step.lines)));
    Ok(Outcome { status, kind: kind.transpose()?, lines: lines.collect::<Result<_>>()? })
}

/// Without who answers, and how large its store is.
fn alike(mut answer: Value, lines: Lines) -> Value {
    without(
        &mut answer,
        &["cluster_id", "member_id", "raft_term", "raftTerm", "raftIndex", "raftAppliedIndex"],
    );
    without(&mut answer, &["dbSize", "dbSizeInUse", "leader", "hash", "members"]);
    if lines == Lines::WithoutMessage {
        without(&mut answer, &["message"]);
    }
    answer
}

fn without(value: &mut Value, names: &[&str]) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                match names.contains(&name.as_str()) && !value.is_object() {
                    true => *value = json!("any"),
                    false => without(value, names),
                }
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| without(value, names)),
        _ => {}
    }
}

#[test]
fn keys_are_put_got_and_deleted() -> Result<()> {
    check(&[
        PUT_A,
        post("/v3/kv/put", r#"{"key":"YQ==","value":"","prevKv":true}"#),
        post("/v3/kv/put", r#"{"key":"YmI","value":"_-8","lease":"0"}"#),
        post("/v3/kv/range", r#"{"key":"YQ==","range_end":"eg=="}"#),
        post("/v3/kv/range", r#"{"key":"YQ==","rangeEnd":"eg==","sort_order":"DESCEND","limit":"1"}"#),
        post("/v3/kv/range", r#"{"key":"AA==","range_end":"AA==","sort_target":"MOD","sort_order":1}"#),
        post("/v3/kv/range", r#"{"key":"YQ==","range_end":"eg==","count_only":true,"sort_order":"NOSUCH"}"#),
        post("/v3/kv/range", r#"{"key":"YQ==","revision":2,"keys_only":true,"unheard":{"of":[1,2]}}"#),
        post("/v3beta/kv/range", r#"{"key":"YQ==","serializable":true} {"and":"more""#),
        post("/v3/kv/deleterange", r#"{"key":"YQ==","range_end":"eg==","prev_kv":true}"#),
        post("/v3/kv/compaction", r#"{"revision":"4","physical":true}"#),
        post("/v3/kv/range", r#"{"key":"YQ==","revision":3}"#),
        post("/v3/kv/range", r#"{"key":"YQ==","revision":"99"}"#),
    ])
}

#[test]
fn transactions() -> Result<()> {
    check(&[
        post(
            "/v3/kv/txn",
            r#"{"compare":[{"key":"YQ==","target":"CREATE","createRevision":"0"}],
                "success":[{"requestPut":{"key":"YQ==","value":"MQ=="}},{"request_range":{"key":"YQ=="}}],
                "failure":[{"requestRange":{"key":"YQ=="}}]}"#,
        ),
        post(
            "/v3/kv/txn",
            r#"{"compare":[{"result":"GREATER","target":"MOD","key":"YQ==","mod_revision":9}],
                "failure":[{"request_txn":{"success":[{"requestDeleteRange":{"key":"YQ==","prev_kv":true}}]}}]}"#,
        ),
        post("/v3/kv/txn", ""),
        post("/v3/kv/txn", r#"{"success":[{}]}"#),
        post("/v3/kv/txn", r#"{"success":[{"request_put":{"key":"YQ=="}},{"request_put":{"key":"YQ=="}}]}"#),
    ])
}

#[test]
fn leases() -> Result<()> {
    check(&[
        post("/v3/lease/grant", r#"{"ID":"77","TTL":900}"#),
        post("/v3/lease/grant", r#"{"ID":77,"TTL":"900"}"#),
        post("/v3/kv/put", r#"{"key":"YQ==","lease":77}"#),
        post("/v3/lease/keepalive", r#"{"ID":"77"}{"ID":77}{"ID":5}"#),
        post("/v3/lease/keepalive", r#"{"ID":"77"}{"ID":"x"}{"ID":5}"#),
        post("/v3/lease/keepalive", ""),
        post("/v3/lease/leases", "{}"),
        post("/v3/kv/lease/leases", "{}"),
        post("/v3/lease/timetolive", r#"{"ID":"78","keys":true}"#),
        post("/v3/kv/lease/revoke", r#"{"ID":"77"}"#),
        post("/v3/lease/revoke", r#"{"ID":"77"}"#),
        post("/v3/kv/range", r#"{"key":"YQ=="}"#),
    ])
}

#[test]
fn a_watch_is_a_line_for_each_answer() -> Result<()> {
    check(&[
        PUT_A,
        PUT_A,
        post("/v3/kv/deleterange", r#"{"key":"YQ=="}"#),
        // Once it is read it is there to be watched: else its events may come in more than one answer.
        post("/v3/kv/range", r#"{"key":"YQ=="}"#),
        stream("/v3/watch", r#"{"create_request":{"key":"YQ==","start_revision":"2","prev_kv":true}}"#, 2),
        stream(
            "/v3/watch",
            r#"{"createRequest":{"key":"YQ==","start_revision":"2","filters":["NODELETE"],"watch_id":7}}
               {"create_request":{"key":"Yg==","range_end":"Yg=="}}"#,
            2,
        ),
        stream("/v3/watch", r#"{"create_request":{"key":"YQ==","start_revision":"-1"}}"#, 1),
    ])
}

#[test]
fn locks_and_elections() -> Result<()> {
    check(&[
        post("/v3/lease/grant", r#"{"ID":"31","TTL":900}"#),
        post("/v3/lease/grant", r#"{"ID":"32","TTL":900}"#),
        post("/v3/lock/lock", r#"{"name":"bg==","lease":31}"#),
        post("/v3/lock/lock", r#"{"name":"bg==","lease":"31"}"#),
        post("/v3/lock/lock", r#"{"name":"bg==","lease":33}"#),
        post("/v3/kv/range", r#"{"key":"bg==","range_end":"bw=="}"#),
        post("/v3/lock/unlock", r#"{"key":"bi8xZg=="}"#),
        post("/v3/lock/unlock", r#"{"key":"bi8xZg=="}"#),
        post("/v3/lock/unlock", ""),
        post("/v3/election/leader", r#"{"name":"ZQ=="}"#),
        post("/v3/election/campaign", r#"{"name":"ZQ==","lease":31,"value":"MQ=="}"#),
        post("/v3/election/campaign", r#"{"name":"ZQ==","lease":31,"value":"Mg=="}"#),
        post("/v3/election/leader", r#"{"name":"ZQ=="}"#),
        post(
            "/v3/election/proclaim",
            r#"{"leader":{"name":"ZQ==","key":"ZS8xZg==","rev":"5","lease":"31"},"value":"Mw=="}"#,
        ),
        post(
            "/v3/election/proclaim",
            r#"{"leader":{"key":"ZS8xZg==","rev":"4","lease":"31"},"value":"Mw=="}"#,
        ),
        post("/v3/election/proclaim", "{}"),
        stream("/v3/election/observe", r#"{"name":"ZQ=="}"#, 1),
        post("/v3/election/resign", r#"{"leader":{"key":"ZS8xZg==","rev":"5","lease":"31"}}"#),
        post("/v3/election/resign", r#"{"leader":{"key":"ZS8xZg==","rev":"5","lease":"31"}}"#),
        post("/v3/election/resign", r#"{"leader":null}"#),
        post("/v3/election/leader", r#"{"name":"ZQ=="}"#),
    ])
}

#[test]
fn members_and_maintenance() -> Result<()> {
    check(&[
        PUT_A,
        post("/v3/cluster/member/list", r#"{"linearizable":true}"#),
        post("/v3/maintenance/status", "{}"),
        post("/v3/maintenance/alarm", r#"{"action":"GET","memberID":"0","alarm":"NONE"}"#),
        post("/v3/maintenance/hashkv", r#"{"revision":0}"#),
        post("/v3/maintenance/defragment", "{}"),
        post("/v3/maintenance/transfer-leadership", r#"{"targetID":"1"}"#),
    ])
}

#[test]
fn what_leads_nowhere_or_is_nonsense() -> Result<()> {
    check(&[
        post("/v3/nope", "{}"),
        post("/v3/kv/range/", "{}"),
        post("/v3/kv/range", ""),
        post("/v3/kv/put", r#"{"key":null,"value":"YQ=="}"#),
        nonsense("/v3/kv/range", "{key"),
        nonsense("/v3/kv/range", "[]"),
        nonsense("/v3/kv/range", r#"{"key":1}"#),
        nonsense("/v3/kv/range", r#"{"key":"Y"}"#),
        nonsense("/v3/kv/range", r#"{"key":"YQ==","limit":1.5}"#),
        nonsense("/v3/kv/range", r#"{"limit":"99999999999999999999"}"#),
    ])
}
