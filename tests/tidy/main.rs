//! The habits of this repository that a program can check, so that no reviewer has to.
//!
//! Each rule is a plain function from what it looks at to the violations it found, and stands beside a test that
//! plants some. The tests of this file hold the rules against the repository itself.

mod crates;
mod differences;
mod documents;
mod sources;
mod tree;

use crates::Workspace;
use tree::Tree;

/// Fails with every violation at once: they are mended together.
fn none(violations: Vec<String>) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}

#[test]
fn every_source_file_says_what_it_promises() {
    none(Tree::read().sources().filter_map(|(path, text)| sources::lacks_header(path, text)).collect());
}

#[test]
fn a_file_is_short() {
    none(Tree::read().sources().filter_map(|(path, text)| sources::is_long(path, text)).collect());
}

#[test]
fn a_module_stands_beside_its_folder() {
    none(Tree::read().sources().filter_map(|(path, _)| sources::is_mod_file(path)).collect());
}

#[test]
fn lint_levels_are_set_for_the_whole_workspace() {
    let tree = Tree::read();
    let files = tree.sources().filter_map(|(path, text)| sources::sets_lints(path, text));
    let manifests = tree.members().flat_map(|(path, text)| crates::own_lints(path, text));
    none(files.chain(manifests).collect());
}

#[test]
fn versions_of_dependencies_are_written_once() {
    none(Tree::read().members().flat_map(|(path, text)| crates::own_versions(path, text)).collect());
}

#[test]
fn a_crate_names_only_what_is_to_its_left() {
    none(crates::against_the_arrows(&Workspace::read().members));
}

#[test]
fn a_member_is_named_as_its_folder_and_not_published() {
    none(crates::misnamed(&Workspace::read().members));
}

#[test]
fn the_checks_run_every_judged_suite() {
    none(Workspace::read().judged_suites_that_checks_miss());
}

#[test]
fn every_path_that_a_document_names_exists() {
    let tree = Tree::read();
    none(tree.documents().flat_map(|(path, text)| documents::dangling(path, text, &tree)).collect());
}

#[test]
fn every_difference_from_etcd_is_shown_by_a_test() {
    let tree = Tree::read();
    let tests = tree.sources().flat_map(|(_, text)| differences::tests(text)).collect();
    let document = tree.documents().find(|(path, _)| *path == differences::DOCUMENT);
    let (_, text) = document.expect("it is there");
    none(differences::unshown(text, &tests));
}
