//! The protocol as an executable model, so much of it as everybody has the time for: good runs, and every rule
//! switched off once. The suite `protocol` does all of them.

mod protocol;

use protocol::runs::{every_rule_is_missed, nothing_is_violated};

#[test]
fn whatever_happens_is_as_if_executed_one_after_the_other() {
    println!("{}", nothing_is_violated(300));
}

#[test]
fn every_rule_that_is_switched_off_is_missed() {
    println!("{}", every_rule_is_missed(2_000));
}
