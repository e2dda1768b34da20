//! What holds for every Rust file.

/// We aim at 300. Beyond this a file has a second noun in it.
const LINES_MAX: usize = 400;

pub(crate) fn lacks_header(path: &str, text: &str) -> Option<String> {
    let header = text.lines().next().is_some_and(|first| first.starts_with("//! "));
    (!header).then(|| format!("{path}: the first line is not a `//!` that says what the file promises"))
}

pub(crate) fn is_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    let long = lines > LINES_MAX;
    long.then(|| format!("{path}: {lines} lines, more than {LINES_MAX}: which two nouns are in it?"))
}

pub(crate) fn is_mod_file(path: &str) -> Option<String> {
    let named_mod = path.rsplit('/').next() == Some("mod.rs");
    named_mod.then(|| format!("{path}: name it as its folder and put it beside it"))
}

/// A file may still `allow` or `expect` something, with its reason.
pub(crate) fn sets_lints(path: &str, text: &str) -> Option<String> {
    let sets =
        |line: &str| ["#![warn(", "#![deny(", "#![forbid("].iter().any(|level| line.starts_with(level));
    text.lines().any(sets).then(|| format!("{path}: lint levels are set in the root Cargo.toml"))
}

#[test]
fn a_header_is_on_the_first_line() {
    assert_eq!(lacks_header("a.rs", "//! Positions.\n\nstruct Lsn;"), None);
    for text in ["", "\n//! Positions.", "use a;\n//! Positions.", "// Positions.", "//!\n//! Positions."] {
        assert!(lacks_header("a.rs", text).is_some(), "{text:?}");
    }
}

#[test]
fn a_file_may_have_as_many_lines_as_we_said() {
    assert_eq!(is_long("a.rs", &"\n".repeat(LINES_MAX)), None);
    assert!(is_long("a.rs", &"\n".repeat(LINES_MAX + 1)).is_some());
}

#[test]
fn a_mod_file_is_found_in_any_folder() {
    assert!(is_mod_file("mod.rs").is_some());
    assert!(is_mod_file("journal/src/segment/mod.rs").is_some());
    assert_eq!(is_mod_file("journal/src/unmod.rs"), None);
}

#[test]
fn a_file_may_allow_but_not_deny() {
    assert!(sets_lints("a.rs", "//! A.\n#![deny(warnings)]").is_some());
    assert_eq!(sets_lints("a.rs", "//! A.\n#![allow(clippy::todo)]"), None);
}
