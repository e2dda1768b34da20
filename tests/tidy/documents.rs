//! Paths in Markdown: `` `in/backticks.rs` `` and `[in a link](of.md)`.
//!
//! A document may name a file from the root, from its own folder, or, as long as it names no folder with it, any
//! file of that name. It may not name what does not exist.

use crate::tree::Tree;

/// Words with these ends are files of ours, whatever the rest says.
const ENDS: [&str; 5] = [".rs", ".md", ".toml", ".proto", "/"];

/// Projects that we point readers to. The first part of such a path is the name of the project.
const OTHER_PROJECTS: [&str; 6] = ["redb", "neon", "crucible", "restate", "openraft", "s2"];

pub(crate) fn dangling(document: &str, text: &str, tree: &Tree) -> Vec<String> {
    let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
    let named = in_backticks(text).into_iter().filter(|word| is_path(word, tree)).chain(links(text));
    let missing = named.filter(|path| !exists(path, folder, tree));
    missing.map(|path| format!("{document}: there is no `{path}`")).collect()
}

pub(crate) fn exists(path: &str, folder: &str, tree: &Tree) -> bool {
    // Of a pattern like `proto/etcd/*.proto` the folder must exist.
    let plain = path.split('*').next().unwrap_or(path).trim_end_matches('/');
    let beside = if folder.is_empty() { plain.to_owned() } else { format!("{folder}/{plain}") };
    tree.holds(plain) || tree.holds(&beside) || !plain.contains('/') && tree.holds_somewhere(plain)
}

fn is_path(word: &str, tree: &Tree) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./*".contains(&byte);
    let first = word.split('/').next().unwrap_or(word);
    // `/health` is a resource, `./mainstem.data` appears at run time, `k8s.io/api` is a module somewhere else.
    let ours = !first.is_empty() && first != "." && first != "target" && !OTHER_PROJECTS.contains(&first);
    let looks = ENDS.iter().any(|end| word.len() > end.len() && word.ends_with(end));
    word.bytes().all(plain) && ours && (looks || word.contains('/') && tree.holds(first))
}

fn in_backticks(text: &str) -> Vec<&str> {
    text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).collect()
}

/// Those of the web and those inside of the same document are not ours to check.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    targets.filter(|target| !target.is_empty() && !target.contains(':'))
}

#[cfg(test)]
mod planted {
    use super::*;

    fn check(document: &str, text: &str) -> Vec<String> {
        let tree = Tree::planted(&[
            "journal",
            "journal/src",
            "journal/src/lsn.rs",
            "docs",
            "docs/adr",
            "docs/adr/1.md",
            ".ci",
            ".ci/run",
        ]);
        dangling(document, text, &tree)
    }

    #[test]
    fn a_file_is_named_from_the_root_by_its_name_or_from_beside() {
        assert!(
            check(
                "A.md",
                "`journal/src/lsn.rs`, `lsn.rs`, `docs/adr/`, `src/`, `.ci/run`, `journal/src/*.rs`"
            )
            .is_empty()
        );
        assert!(check("docs/A.md", "[one](adr/1.md#top), `adr/1.md`").is_empty());
    }

    #[test]
    fn what_does_not_exist_is_found() {
        for text in [
            "`journal/src/lns.rs`",
            "`lns.rs`",
            "`.ci/rum`",
            "`adr/x/`",
            "`jurnal/src/lsn.rs`",
            "[x](docs/x)",
            "`x/*.rs`",
        ] {
            assert_eq!(check("A.md", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn other_words_are_left_alone() {
        let words = "`Lsn`, `a.len()`, `/health`, `./mainstem.data`, `application/json`, `redb/docs/design.md`, `--x=a/b.rs y`";
        assert!(check("A.md", words).is_empty());
        assert!(check("A.md", "[web](https://example.org/a.md), [here](#top)").is_empty());
    }
}
