//! Committed offsets never go back: whoever lists them sees at least what was acknowledged or listed before.

use std::collections::BTreeMap;

use super::super::Findings;
use super::super::history::Moment;
use super::{Answer, Call, Operation};

/// Something that fixes how far a key is committed, once it was answered.
struct Mark<'a> {
    at: Moment,
    offset: i64,
    by: &'a Operation,
}

pub(super) fn check(history: &[Operation], findings: &mut Findings) {
    let marks = marks(history);
    for list in history {
        let (Call::ListCommitted { keys }, Some(Answer::Committed(offsets))) = (&list.call, list.answer())
        else {
            continue;
        };
        for key in keys {
            let listed = offsets.get(key);
            let before = marks.get(key.as_str()).and_then(|marks| highest_before(marks, list.invoked));
            if let Some(mark) = before
                && listed.is_none_or(|offset| *offset < mark.offset)
            {
                let story = vec![
                    format!("key {key} was committed up to {} by", mark.offset),
                    mark.by.to_string(),
                    "and is behind that in the later".to_owned(),
                    list.to_string(),
                ];
                findings.found("committed offset went back", story);
            }
        }
    }
}

/// By key, by time, each with the highest up to then.
fn marks(history: &[Operation]) -> BTreeMap<&str, Vec<Mark<'_>>> {
    let mut marks: BTreeMap<&str, Vec<Mark<'_>>> = BTreeMap::new();
    for by in history {
        let Some(at) = by.answered() else { continue };
        let offsets = match (&by.call, by.answer()) {
            (Call::Commit { offsets }, Some(Answer::Done)) | (_, Some(Answer::Committed(offsets))) => offsets,
            _ => continue,
        };
        for (key, offset) in offsets {
            marks.entry(key).or_default().push(Mark { at, offset: *offset, by });
        }
    }
    for marks in marks.values_mut() {
        marks.sort_by_key(|mark| mark.at);
        for index in 1..marks.len() {
            if marks[index - 1].offset > marks[index].offset {
                marks[index].offset = marks[index - 1].offset;
                marks[index].by = marks[index - 1].by;
            }
        }
    }
    marks
}

fn highest_before<'a, 'b>(marks: &'a [Mark<'b>], moment: Moment) -> Option<&'a Mark<'b>> {
    marks[..marks.partition_point(|mark| mark.at < moment)].last()
}
