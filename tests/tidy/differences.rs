//! Tables whose rows are shown by tests: the last cell of each row names them, `` `like_this` ``.

use std::collections::BTreeSet;

/// The document whose tables are looked at.
pub(crate) const DOCUMENT: &str = "docs/differences.md";

/// The names of all tests in some source.
pub(crate) fn tests(source: &str) -> BTreeSet<&str> {
    let (mut names, mut is_test) = (BTreeSet::new(), false);
    for line in source.lines().map(str::trim_start) {
        if line.starts_with("#[") {
            is_test |= ["#[test]", "#[tokio::test"].iter().any(|attribute| line.starts_with(attribute));
        } else if !line.starts_with("//") {
            let name =
                line.split_once("fn ").and_then(|(_, rest)| rest.split_once('(')).map(|(name, _)| name);
            names.extend(name.filter(|_| is_test));
            is_test = false;
        }
    }
    names
}

/// Rows that name no test, or one that does not exist.
pub(crate) fn unshown(text: &str, tests: &BTreeSet<&str>) -> Vec<String> {
    let rows = text.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---"));
    let mut violations = Vec::new();
    for row in rows {
        let mut cells = row.trim_matches('|').split(" | ").map(str::trim);
        let what = cells.next().unwrap_or_default();
        let last = cells.last().unwrap_or_default();
        // The head of a table.
        if last == "shown by" {
            continue;
        }
        let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            violations
                .push(format!("{DOCUMENT}: no test shows the row of {what}: name one in its last cell"));
        }
        let missing = named.iter().filter(|name| !tests.contains(*name));
        violations.extend(missing.map(|name| format!("{DOCUMENT}: {what}: there is no test `{name}`")));
    }
    violations
}

#[cfg(test)]
mod planted {
    use super::*;

    const SOURCE: &str = "
        #[test]
        fn a_rule_holds() {}

        #[tokio::test(start_paused = true)]
        #[cfg(unix)]
        // Why.
        async fn another_rule_holds() -> Result<()> { }

        fn a_helper() {}
    ";

    fn check(rows: &str) -> Vec<String> {
        unshown(&format!("| what | etcd | shown by |\n| --- | --- | --- |\n{rows}\n"), &tests(SOURCE))
    }

    #[test]
    fn a_row_names_tests_that_exist() {
        assert!(
            check("| a | b | `a_rule_holds` |\n| c | `d` | `a_rule_holds`, `another_rule_holds` |")
                .is_empty()
        );
    }

    #[test]
    fn rows_without_a_test_are_found() {
        assert_eq!(check("| a | `a_rule_holds` | b |").len(), 1);
        assert_eq!(check("| a | b | `a_helper` |").len(), 1);
        assert_eq!(check("| a | b | `a_rule_holds`, `a_rule_held` |").len(), 1);
    }
}
