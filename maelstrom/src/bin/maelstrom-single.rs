//! A node that is a whole store by itself, in memory: right, or with `--wrong` wrong in one way.
//!
//! With it the runner and its checkers are seen to work. It knows no other nodes, so it is right only where there is one, and
//! it forgets everything when it is killed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, Write};

use anyhow::{Context, Result, bail};
use clap::{Parser, ValueEnum};
use serde_json::{Map, Value, json};

#[derive(Debug, Parser)]
#[command(about = "A node by itself, right or wrong, to try the runner with")]
struct Arguments {
    #[arg(long)]
    wrong: Option<Wrong>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wrong {
    /// Acknowledges every twentieth write without doing it.
    Lose,
    /// Answers every twentieth read with what was there before the last write.
    Stale,
    /// Does every twentieth write twice.
    Twice,
    /// Writes something to its output that is no message.
    Chatter,
    /// Answers with a field that nobody asked for.
    Extra,
    /// Ends by itself after a hundred requests.
    End,
}

fn main() -> Result<()> {
    let mut node = Node { wrong: Arguments::parse().wrong, ..Node::default() };
    writeln!(std::io::stderr(), "process {}", std::process::id())?;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let message: Value = serde_json::from_str(&line?).context("a line is JSON")?;
        let mut body = node.answer(&message["body"])?;
        if node.wrong == Some(Wrong::Chatter) && node.requests == 100 {
            writeln!(output, "a hundred requests!")?;
        }
        if node.wrong == Some(Wrong::End) && node.requests == 100 {
            bail!("planted");
        }
        if node.wrong == Some(Wrong::Extra) && node.requests == 100 {
            body["trace"] = json!(7);
        }
        body["in_reply_to"] = message["body"]["msg_id"].clone();
        writeln!(output, "{}", json!({"src": message["dest"], "dest": message["src"], "body": body}))?;
        output.flush()?;
    }
    Ok(())
}

/// Each workload has its part of the state. Keys are JSON as it is written.
#[derive(Default)]
struct Node {
    wrong: Option<Wrong>,
    requests: u64,
    reads: u64,
    writes: u64,
    values: BTreeMap<String, Versions>,
    elements: BTreeSet<i64>,
    logs: BTreeMap<String, Vec<Value>>,
    committed: BTreeMap<String, u64>,
}

/// The newest value of a key and the one before.
#[derive(Clone, Default)]
struct Versions {
    now: Option<Value>,
    before: Option<Value>,
}

impl Node {
    fn answer(&mut self, body: &Value) -> Result<Value> {
        self.requests += 1;
        let key = body["key"].to_string();
        Ok(match body["type"].as_str().context("a body has a type")? {
            "init" => json!({"type": "init_ok"}),
            "echo" => json!({"type": "echo_ok", "echo": body["echo"]}),
            "generate" => self.generate(),
            "add" => self.add(body["element"].as_i64().context("an element")?),
            "read" if body.get("key").is_none() => self.elements(),
            "read" => match self.read(&key) {
                Some(value) => json!({"type": "read_ok", "value": value}),
                None => error(20),
            },
            "write" => {
                self.write(&key, body["value"].clone());
                json!({"type": "write_ok"})
            }
            "cas" => match self.read(&key) {
                None => error(20),
                Some(value) if value != body["from"] => error(22),
                Some(_) => {
                    self.write(&key, body["to"].clone());
                    json!({"type": "cas_ok"})
                }
            },
            "txn" => self.txn(&body["txn"])?,
            "send" => self.send(body),
            "poll" => self.poll(&body["offsets"]),
            "commit_offsets" => {
                for (key, offset) in body["offsets"].as_object().into_iter().flatten() {
                    let held = self.committed.entry(key.clone()).or_default();
                    *held = offset.as_u64().unwrap_or_default().max(*held);
                }
                json!({"type": "commit_offsets_ok"})
            }
            "list_committed_offsets" => {
                json!({"type": "list_committed_offsets_ok", "offsets": self.committed})
            }
            _ => error(10),
        })
    }

    fn strikes(&self, wrong: Wrong, count: u64) -> bool {
        self.wrong == Some(wrong) && count.is_multiple_of(20)
    }

    fn read(&mut self, key: &str) -> Option<Value> {
        self.reads += 1;
        let versions = self.values.get(key)?;
        let stale = self.strikes(Wrong::Stale, self.reads);
        if stale { versions.before.clone() } else { versions.now.clone() }
    }

    fn write(&mut self, key: &str, value: Value) {
        self.writes += 1;
        if !self.strikes(Wrong::Lose, self.writes) {
            let versions = self.values.entry(key.to_owned()).or_default();
            versions.before = versions.now.replace(value);
        }
    }

    fn txn(&mut self, acts: &Value) -> Result<Value> {
        let mut told = Vec::new();
        for act in acts.as_array().context("a txn is a list")? {
            let key = act[1].to_string();
            match act[0].as_str() {
                Some("r") => told.push(json!(["r", act[1], self.read(&key)])),
                Some("w") => {
                    self.write(&key, act[2].clone());
                    told.push(act.clone());
                }
                Some("append") => {
                    let mut list =
                        self.values.get(&key).and_then(|versions| versions.now.clone()).unwrap_or(json!([]));
                    let list_now = list.as_array_mut().context("a list")?;
                    list_now.push(act[2].clone());
                    if self.strikes(Wrong::Twice, self.writes) {
                        list_now.push(act[2].clone());
                    }
                    self.write(&key, list);
                    told.push(act.clone());
                }
                _ => bail!("an unknown operation: {act}"),
            }
        }
        Ok(json!({"type": "txn_ok", "txn": told}))
    }

    fn generate(&mut self) -> Value {
        self.writes += 1;
        let twice = self.strikes(Wrong::Twice, self.writes);
        json!({"type": "generate_ok", "id": if twice { self.writes - 1 } else { self.writes }})
    }

    fn add(&mut self, element: i64) -> Value {
        self.writes += 1;
        if !self.strikes(Wrong::Lose, self.writes) {
            self.elements.insert(element);
        }
        json!({"type": "add_ok"})
    }

    fn elements(&self) -> Value {
        json!({"type": "read_ok", "value": self.elements})
    }

    fn send(&mut self, body: &Value) -> Value {
        self.writes += 1;
        let lost = self.strikes(Wrong::Lose, self.writes);
        let log = self.logs.entry(body["key"].as_str().unwrap_or_default().to_owned()).or_default();
        log.push(if lost { Value::Null } else { body["msg"].clone() });
        json!({"type": "send_ok", "offset": log.len() - 1})
    }

    fn poll(&self, offsets: &Value) -> Value {
        let mut polled = Map::new();
        for (key, from) in offsets.as_object().into_iter().flatten() {
            let from = from.as_u64().unwrap_or_default();
            let log = self.logs.get(key).into_iter().flatten();
            let rest = (0_u64..).zip(log).filter(|(offset, message)| from <= *offset && !message.is_null());
            polled.insert(key.clone(), rest.take(20).map(|pair| json!([pair.0, pair.1])).collect());
        }
        json!({"type": "poll_ok", "msgs": polled})
    }
}

fn error(code: u64) -> Value {
    json!({"type": "error", "code": code, "text": "see the protocol"})
}
