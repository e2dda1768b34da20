//! Lines of the protocol, read strictly: whatever the documentation does not allow is an error.
//!
//!     {"src":"n1","dest":"c4","body":{"type":"read_ok","in_reply_to":7,"value":3}}
//!
//! What nodes say to each other is theirs: of that only the envelope is looked at.

use serde_json::{Map, Value, json};

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub from: String,
    pub to: String,
    pub body: Map<String, Value>,
}

/// A node or a client, as in `n3` and `c12`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    Node(usize),
    Client(u32),
}

impl End {
    pub fn parse(name: &str) -> Option<Self> {
        let end = if let Some(node) = name.strip_prefix('n') {
            Self::Node(node.parse().ok()?)
        } else {
            Self::Client(name.strip_prefix('c')?.parse().ok()?)
        };
        // No `n01` and no `c+1`.
        (end.name() == name).then_some(end)
    }

    pub fn name(self) -> String {
        match self {
            Self::Node(node) => format!("n{node}"),
            Self::Client(client) => format!("c{client}"),
        }
    }
}

pub fn line(from: End, to: End, body: &Value) -> String {
    json!({"src": from.name(), "dest": to.name(), "body": body}).to_string()
}

pub fn parse(line: &str) -> Result<Message, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("no JSON ({error})"))?;
    let Value::Object(envelope) = value else { return Err("no JSON object".to_owned()) };
    let mut fields = Fields(envelope);
    let message =
        Message { from: fields.text("src")?, to: fields.text("dest")?, body: fields.object("body")? };
    fields.0.remove("id");
    fields.end()?;
    if !message.body.get("type").is_some_and(Value::is_string) {
        return Err("the body has no type".to_owned());
    }
    Ok(message)
}

/// An object whose fields are taken one by one; at the end none may be left.
#[derive(Debug)]
pub struct Fields(pub Map<String, Value>);

impl Fields {
    pub fn take(&mut self, name: &str) -> Result<Value, String> {
        self.0.remove(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    pub fn text(&mut self, name: &str) -> Result<String, String> {
        match self.take(name)? {
            Value::String(text) => Ok(text),
            other => Err(format!("`{name}` is no text: {other}")),
        }
    }

    pub fn integer(&mut self, name: &str) -> Result<i64, String> {
        integer(&self.take(name)?).map_err(|why| format!("`{name}`: {why}"))
    }

    pub fn list(&mut self, name: &str) -> Result<Vec<Value>, String> {
        match self.take(name)? {
            Value::Array(list) => Ok(list),
            other => Err(format!("`{name}` is no list: {other}")),
        }
    }

    pub fn object(&mut self, name: &str) -> Result<Map<String, Value>, String> {
        match self.take(name)? {
            Value::Object(object) => Ok(object),
            other => Err(format!("`{name}` is no object: {other}")),
        }
    }

    pub fn end(self) -> Result<(), String> {
        let left: Vec<String> = self.0.into_iter().map(|(name, _)| name).collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("fields that are not allowed: {}", left.join(", ")))
        }
    }
}

pub fn integer(value: &Value) -> Result<i64, String> {
    value.as_i64().ok_or_else(|| format!("{value} is no integer"))
}

pub fn integers(list: &[Value]) -> Result<Vec<i64>, String> {
    list.iter().map(integer).collect()
}

/// An answer to a request, before its workload has looked into it.
#[derive(Debug)]
pub enum Reply {
    /// What is left of the body has yet to be taken.
    Ok(Fields),
    Error {
        code: u64,
    },
}

/// `expected`: the type of an answer that is no error.
pub fn reply(body: Map<String, Value>, asked: u64, expected: &str) -> Result<Reply, String> {
    let mut fields = Fields(body);
    let kind = fields.text("type")?;
    let answers = fields.integer("in_reply_to")?;
    if u64::try_from(answers) != Ok(asked) {
        return Err(format!("in_reply_to is {answers}, and the client's open request is {asked}"));
    }
    if fields.0.contains_key("msg_id") {
        fields.integer("msg_id")?;
    }
    if kind == expected {
        return Ok(Reply::Ok(fields));
    }
    if kind != "error" {
        return Err(format!("the answer's type is `{kind}` instead of `{expected}`"));
    }
    let code = u64::try_from(fields.integer("code")?).map_err(|_| "a code is not negative".to_owned())?;
    if fields.0.contains_key("text") {
        fields.text("text")?;
    }
    fields.end()?;
    Ok(Reply::Error { code })
}

/// Errors that say that the operation did not happen and never will. All others leave it open.
pub fn is_definite(code: u64) -> bool {
    [1, 10, 11, 12, 14, 20, 21, 22, 30].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(value: Value) -> Map<String, Value> {
        value.as_object().expect("an object").clone()
    }

    #[test]
    fn a_line_is_an_envelope_around_a_body_with_a_type() {
        assert!(parse(&line(End::Node(1), End::Client(2), &json!({"type": "x", "anything": []}))).is_ok());
        for wrong in [
            "hello",
            "[]",
            r#"{"src":"n1","dest":"n2"}"#,
            r#"{"src":"n1","dest":"n2","body":{}}"#,
            r#"{"src":1,"dest":"n2","body":{"type":"x"}}"#,
            r#"{"src":"n1","dest":"n2","body":{"type":"x"},"extra":1}"#,
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_end_has_one_name() {
        assert_eq!(End::parse("n12"), Some(End::Node(12)));
        assert_eq!(End::parse("c0"), Some(End::Client(0)));
        for wrong in ["", "n", "n01", "c+1", "lin-kv", "x1", "n-1"] {
            assert_eq!(End::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_reply_is_of_its_request_and_type() {
        let good = body(json!({"type": "read_ok", "in_reply_to": 7, "msg_id": 1}));
        assert!(matches!(reply(good.clone(), 7, "read_ok"), Ok(Reply::Ok(_))));
        assert!(reply(good.clone(), 8, "read_ok").is_err());
        assert!(reply(good, 7, "write_ok").is_err());
        let error = json!({"type": "error", "in_reply_to": 7, "code": 22, "text": "no"});
        assert!(matches!(reply(body(error.clone()), 7, "read_ok"), Ok(Reply::Error { code: 22 })));
        let mut traced = body(error);
        traced.insert("trace".to_owned(), json!(1));
        assert!(reply(traced, 7, "read_ok").is_err());
    }

    #[test]
    fn a_field_that_nobody_took_is_an_error() {
        let mut fields = Fields(body(json!({"value": 1, "extra": 2})));
        assert_eq!(fields.integer("value"), Ok(1));
        assert!(fields.end().is_err());
    }
}
