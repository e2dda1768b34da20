//! What two stores may say differently: ids, terms, places in their logs, sizes, times and addresses.
//!
//! Ids are replaced by what they are ids of, so that a wrong one stays visible; numbers that follow a name are
//! replaced by `_`. Nothing else is touched.

use prost::Message;
use proto::etcdserverpb::ResponseHeader;

/// The texts that stand for ids in one run against one store.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Vec<(String, String)>);

impl Names {
    /// An id is told in hexadecimal to people and as a number in JSON.
    pub(super) fn id(&mut self, id: u64, name: &str) {
        self.text(&format!("{id:016x}"), name);
        self.text(&format!("{id:x}"), name);
        self.text(&id.to_string(), name);
    }

    pub(super) fn text(&mut self, text: &str, name: &str) {
        self.0.push((text.to_owned(), format!("<{name}>")));
    }

    /// A short name is replaced only where one stands: in a list, quoted, in a table, before its URL.
    pub(super) fn member(&mut self, name: &str) {
        let (listed, quoted) = (format!(", {name},"), format!("\"{name}\""));
        let tables = [format!("| {name} |"), format!("│ {name} │")];
        for told in tables.into_iter().chain([listed, quoted, format!("{name}=<peer>")]) {
            self.text(&told, "name");
        }
    }

    pub(super) fn newcomer(&mut self, (name, peer): (&str, &str)) {
        self.text(peer, "peer");
        self.member(name);
    }
}

/// After these, what is made of letters and digits differs.
const UNKNOWN_AFTER: &[&str] = &[
    "\"raft_term\":",
    "\"RaftTerm\" : ",
    "\"raftTerm\":",
    "\"raftIndex\":",
    "\"raftAppliedIndex\":",
    "\"RaftIndex\" : ",
    "\"RaftAppliedIndex\" : ",
    "\"dbSize\":",
    "\"dbSizeInUse\":",
    "\"DBSize\" : ",
    "\"DBSizeInUse\" : ",
    // Seconds left, and how long it took.
    "remaining(",
    "\"ttl\":",
    "\"TTL\" : ",
    "took = ",
    "took ",
    "\"took\":\"",
    "\"ts\":\"",
    "etcd-endpoints://0x",
    "LocalAddr: '",
    // A lock's and an election's key ends with the lease of a session.
    "race/",
];

/// Text for people, JSON or fields.
pub(super) fn text(output: &[u8], names: &Names) -> String {
    let mut text = String::from_utf8_lossy(output).into_owned();
    for (id, name) in &names.0 {
        text = text.replace(id, name);
    }
    // Some ids are as wide as sixteen digits, whether they have as many or not.
    while text.contains("  <") {
        text = text.replace("  <", " <");
    }
    for prefix in UNKNOWN_AFTER {
        text = forget_after(&text, prefix);
    }
    text
}

/// A table is as wide as what stands in it, so its blanks and lines say nothing.
pub(super) fn table(output: &[u8], names: &Names) -> String {
    let mut squeezed = String::new();
    for letter in String::from_utf8_lossy(output).chars() {
        let filler = matches!(letter, ' ' | '-' | '─');
        if !(filler && squeezed.ends_with(letter)) {
            squeezed.push(letter);
        }
    }
    text(squeezed.as_bytes(), names)
}

/// A message of protobuf: every answer has its header first, which has the ids.
pub(super) fn protobuf(output: &[u8]) -> String {
    let mut rest = output;
    let header = (|| {
        let (tag, kind) = prost::encoding::decode_key(&mut rest).ok()?;
        let length = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).ok()?;
        let header = ResponseHeader::decode(rest.get(..length)?).ok()?;
        rest = &rest[length..];
        (tag == 1 && kind == prost::encoding::WireType::LengthDelimited).then_some(header)
    })();
    match header {
        Some(header) => format!("revision {}, {}", header.revision, rest.escape_ascii()),
        None => format!("no header: {}", output.escape_ascii()),
    }
}

fn forget_after(text: &str, prefix: &str) -> String {
    let mut pieces = text.split(prefix);
    let mut known = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let unknown = |letter: char| letter.is_alphanumeric() || matches!(letter, '.' | ':' | '-');
        known += prefix;
        known.push('_');
        known += piece.trim_start_matches(unknown);
    }
    known
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_told_by_what_they_are_ids_of() {
        let mut names = Names::default();
        names.id(0xabc, "member");
        names.text("127.0.0.1:7", "endpoint");
        let said = "127.0.0.1:7, 0000000000000abc, abc, {\"member_id\":2748,\"leader\":2749}";
        let heard = "<endpoint>, <member>, <member>, {\"member_id\":<member>,\"leader\":2749}";
        assert_eq!(text(said.as_bytes(), &names), heard);
    }

    #[test]
    fn a_short_id_has_blanks_before_it() {
        let mut names = Names::default();
        names.id(0x0abc_def0_1234_5678, "cluster");
        for said in ["added to cluster    abcdef012345678", "added to cluster abcdef012345678"] {
            assert_eq!(text(said.as_bytes(), &names), "added to cluster <cluster>");
        }
    }

    #[test]
    fn only_what_follows_a_name_is_forgotten() {
        let said = "{\"raft_term\":7,\"revision\":12} took 3.5ms, remaining(9s)";
        let heard = "{\"raft_term\":_,\"revision\":12} took _, remaining(_)";
        assert_eq!(text(said.as_bytes(), &Names::default()), heard);
    }

    #[test]
    fn a_table_has_no_width() {
        assert_eq!(table(b"+----+\n| a  |\n", &Names::default()), "+-+\n| a |\n");
    }

    #[test]
    fn of_a_message_the_revision_and_the_rest_count() {
        let header = ResponseHeader { cluster_id: 9, revision: 3, ..ResponseHeader::default() };
        let mut message = vec![10];
        header.encode_length_delimited(&mut message).expect("a vector grows");
        message.extend([0x20, 1]);
        assert_eq!(protobuf(&message), "revision 3,  \\x01");
        assert_eq!(protobuf(b"Error"), "no header: Error");
    }
}
