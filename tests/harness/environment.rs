//! What whoever runs a suite asks of it: how much, and from which seed.

/// A number from the environment.
///
/// # Panics
/// Where it is none.
#[must_use]
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is {text:?}, and not a number")))
}
