//! `/debug/vars`: a few facts about the process as JSON, where Go programs have them.

use serde_json::json;

use super::health::Vitals;

pub(super) fn document(arguments: &[String], vitals: &Vitals) -> String {
    let status = vitals.status.borrow();
    let leads = status.leader == Some(status.node);
    let document = json!({
        "cmdline": arguments,
        "file_descriptor_limit": crate::metrics::process::descriptors_max(),
        "raft.status": {
            "id": format!("{:x}", status.node),
            "term": status.term,
            "commit": status.applied.0,
            "applied": status.applied.0,
            "lead": format!("{:x}", status.leader.unwrap_or_default()),
            "raftState": if leads { "StateLeader" } else { "StateFollower" },
        },
    });
    document.to_string()
}
