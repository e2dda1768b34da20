//! The protocol as an executable model, all of its runs. `model` does some of them wherever tests are run.

mod protocol;

use protocol::runs::{every_rule_is_missed, nothing_is_violated};

#[test]
fn whatever_happens_is_as_if_executed_one_after_the_other() {
    println!("{}", nothing_is_violated(20_000));
}

#[test]
fn every_rule_that_is_switched_off_is_missed() {
    println!("{}", every_rule_is_missed(20_000));
}
