//! Maelstrom's messages: one JSON document a line, in both directions.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// The fields that a message is about, its type among them.
pub(crate) type Body = Map<String, Value>;

/// A message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Message {
    pub(crate) src: String,
    pub(crate) dest: String,
    pub(crate) body: Body,
}

impl Message {
    pub(crate) fn kind(&self) -> &str {
        self.body.get("type").and_then(Value::as_str).unwrap_or_default()
    }

    /// Who answers names this.
    pub(crate) fn id(&self) -> Option<&Value> {
        self.body.get("msg_id")
    }

    /// The answer to it, from whom it was for.
    pub(crate) fn answer(&self, mut body: Body) -> Message {
        if let Some(id) = self.id() {
            body.insert("in_reply_to".to_owned(), id.clone());
        }
        Message { src: self.dest.clone(), dest: self.src.clone(), body }
    }
}

/// Why a request has no answer. What is definite has not happened and never will.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// It may have happened, or happen still.
    #[error("{0}")]
    Unknown(String),
    #[error("this node does not know a request of the type {0:?}")]
    NotSupported(String),
    #[error("{0}")]
    Unavailable(String),
    #[error("{0}")]
    Malformed(String),
    #[error("there is no such key")]
    NoSuchKey,
    #[error("the value is another one")]
    Differs,
    #[error("others have written these keys again and again")]
    Conflict,
}

impl Refusal {
    fn code(&self) -> u64 {
        match self {
            Refusal::Unknown(_) => 0,
            Refusal::NotSupported(_) => 10,
            Refusal::Unavailable(_) => 11,
            Refusal::Malformed(_) => 12,
            Refusal::NoSuchKey => 20,
            Refusal::Differs => 22,
            Refusal::Conflict => 30,
        }
    }

    pub(crate) fn body(&self) -> Body {
        body(json!({ "type": "error", "code": self.code(), "text": self.to_string() }))
    }
}

/// # Panics
/// Where it is no object.
pub(crate) fn body(value: Value) -> Body {
    match value {
        Value::Object(body) => body,
        other => panic!("a body is an object, and not {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_goes_back_and_names_what_it_answers() {
        let line = r#"{"src":"c1","dest":"n3","body":{"type":"echo","msg_id":7,"echo":"hi"}}"#;
        let asked: Message = serde_json::from_str(line).expect("it is a message");
        assert_eq!(asked.kind(), "echo");
        let answer = asked.answer(Refusal::NoSuchKey.body());
        let expected = json!({ "src": "n3", "dest": "c1", "body": {
            "type": "error", "code": 20, "text": "there is no such key", "in_reply_to": 7,
        } });
        assert_eq!(serde_json::to_value(answer).expect("it is JSON"), expected);
    }
}
