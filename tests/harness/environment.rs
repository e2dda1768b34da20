//! What whoever runs a suite asks of it: how much, and from which seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// A number from the environment.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, and not a number")))
}

/// Where chance begins, as the environment has it; by default at this moment.
///
/// # Panics
/// As `number`.
#[must_use]
pub fn seed(variable: &str) -> u64 {
    number(variable).unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        u64::from(now.subsec_nanos())
    })
}
