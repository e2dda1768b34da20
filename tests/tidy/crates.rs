//! What holds for every crate of the workspace.
//!
//!     proto ◄── journal ◄── memstore ◄── frontend ◄── maelstrom ◄── tests

use std::process::Command;

use serde_json::Value;

use crate::tree::root;

/// Each crate with those to its left: the only ones of ours that it may name, for whatever purpose.
const ARROWS: [(&str, &[&str]); 6] = [
    ("proto", &[]),
    ("journal", &["proto"]),
    ("memstore", &["proto", "journal"]),
    ("frontend", &["proto", "journal", "memstore"]),
    ("maelstrom", &["proto", "journal", "memstore", "frontend"]),
    ("tests", &["proto", "journal", "memstore", "frontend", "maelstrom"]),
];

/// A member, as cargo understands its manifest.
#[derive(Clone)]
pub(crate) struct Member {
    name: String,
    folder: String,
    published: bool,
    /// Those with a path: normal, for tests and for build scripts.
    dependencies: Vec<String>,
}

pub(crate) struct Workspace {
    pub(crate) members: Vec<Member>,
    judged_suites: Vec<String>,
}

impl Workspace {
    pub(crate) fn read() -> Self {
        let metadata: Value =
            serde_json::from_str(&output_of(env!("CARGO"), &["metadata", "--no-deps", "--format-version=1"]))
                .expect("cargo's answer is JSON");
        let packages = list(&metadata["packages"]);
        Self {
            members: packages.iter().map(Member::of).collect(),
            judged_suites: packages
                .iter()
                .flat_map(|package| list(&package["targets"]))
                .filter(|target| list(&target["required-features"]).iter().any(|feature| feature == "judges"))
                .map(|target| text(&target["name"]))
                .collect(),
        }
    }

    /// The script finds them by the words of cargo's answer, without a JSON reader: here is one to compare with.
    pub(crate) fn judged_suites_that_checks_miss(&self) -> Vec<String> {
        let steps = output_of(".ci/run", &["list"]);
        let missed = |suite: &&String| !steps.lines().any(|step| step == suite.as_str());
        self.judged_suites
            .iter()
            .filter(missed)
            .map(|suite| format!("{suite}: .ci/run does not run it"))
            .collect()
    }
}

impl Member {
    fn of(package: &Value) -> Self {
        let manifest = text(&package["manifest_path"]);
        let ours = list(&package["dependencies"]).iter().filter(|dependency| dependency["path"].is_string());
        Self {
            name: text(&package["name"]),
            folder: manifest.rsplit('/').nth(1).expect("a manifest is in a folder").to_owned(),
            // `null` is any registry, `[]` is none.
            published: package["publish"] != Value::Array(Vec::new()),
            dependencies: ours.map(|dependency| text(&dependency["name"])).collect(),
        }
    }
}

pub(crate) fn against_the_arrows(members: &[Member]) -> Vec<String> {
    let mut violations = Vec::new();
    for member in members {
        let Some((_, left)) = ARROWS.iter().find(|(name, _)| *name == member.name) else {
            violations.push(format!(
                "{}: a new crate needs a decision in docs/adr and its place in the arrows",
                member.name
            ));
            continue;
        };
        let wrong = member.dependencies.iter().filter(|name| !left.contains(&name.as_str()));
        violations.extend(wrong.map(|name| format!("{} must not know {name}", member.name)));
    }
    violations
}

pub(crate) fn misnamed(members: &[Member]) -> Vec<String> {
    let named = members.iter().filter(|member| member.name != member.folder);
    let published = members.iter().filter(|member| member.published);
    named
        .map(|member| format!("{}: its folder is {}", member.name, member.folder))
        .chain(published.map(|member| format!("{}: publish is not false", member.name)))
        .collect()
}

/// All that a manifest says about lints is that the workspace decides.
pub(crate) fn own_lints(path: &str, manifest: &str) -> Vec<String> {
    let mut lines = manifest.lines().map(str::trim).filter(|line| !line.is_empty());
    let tables: Vec<_> = manifest.lines().map(str::trim).filter(|line| line.starts_with("[lints")).collect();
    let inherits = lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true");
    let ends = lines.next().is_none_or(|line| line.starts_with('[') || line.starts_with('#'));
    if tables == ["[lints]"] && inherits && ends {
        return Vec::new();
    }
    vec![format!("{path}: [lints] says `workspace = true` and nothing else")]
}

/// `name = "1.0"`, and `version = "1.0"` inside or outside of braces.
pub(crate) fn own_versions(path: &str, manifest: &str) -> Vec<String> {
    let versioned = |line: &&str| {
        let values = line.split('=').skip(1).map(|value| value.trim_start_matches([' ', '"', '^', '~', '>']));
        !line.starts_with('#')
            && values.into_iter().any(|value| value.starts_with(|first: char| first.is_ascii_digit()))
    };
    manifest
        .lines()
        .filter(versioned)
        .map(|line| format!("{path}: `{line}` belongs into the root Cargo.toml"))
        .collect()
}

fn output_of(program: &str, arguments: &[&str]) -> String {
    let output =
        Command::new(program).args(arguments).current_dir(root()).output().expect("the program starts");
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("it writes UTF-8")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().expect("cargo writes a text here").to_owned()
}

#[cfg(test)]
mod planted {
    use super::*;

    fn member(name: &str, dependencies: &[&str]) -> Member {
        let dependencies = dependencies.iter().map(|name| (*name).to_owned()).collect();
        Member { name: name.to_owned(), folder: name.to_owned(), published: false, dependencies }
    }

    #[test]
    fn an_arrow_points_to_the_left() {
        assert!(against_the_arrows(&[member("memstore", &["journal", "proto"])]).is_empty());
        assert_eq!(
            against_the_arrows(&[member("journal", &["proto", "memstore"])]),
            ["journal must not know memstore"]
        );
        assert_eq!(against_the_arrows(&[member("frontend", &["tests"])]), ["frontend must not know tests"]);
        assert_eq!(against_the_arrows(&[member("maelstrom", &["tests"])]), ["maelstrom must not know tests"]);
        assert_eq!(against_the_arrows(&[member("common", &[])]).len(), 1);
    }

    #[test]
    fn a_folder_and_a_registry_are_compared() {
        let journal = member("journal", &[]);
        assert!(misnamed(std::slice::from_ref(&journal)).is_empty());
        assert_eq!(misnamed(&[Member { folder: "log".to_owned(), ..journal.clone() }]).len(), 1);
        assert_eq!(misnamed(&[Member { published: true, ..journal }]).len(), 1);
    }

    #[test]
    fn a_manifest_leaves_lints_to_the_workspace() {
        let inherited = "[package]\n\n[lints]\nworkspace = true\n";
        assert!(own_lints("a", inherited).is_empty());
        assert!(own_lints("a", &format!("{inherited}\n[lib]\ndoctest = false\n")).is_empty());
        for own in [
            "[package]\n",
            "[lints.clippy]\ntodo = \"allow\"",
            "[lints]\nworkspace = true\nrust.x = \"allow\"",
        ] {
            assert_eq!(own_lints("a", own).len(), 1, "{own}");
        }
        assert_eq!(own_lints("a", &format!("{inherited}[lints.rust]\nx = \"allow\"")).len(), 1);
    }

    #[test]
    fn a_manifest_leaves_versions_to_the_workspace() {
        assert!(
            own_versions("a", "version.workspace = true\nbytes.workspace = true\njudges = []\nname = \"x\"")
                .is_empty()
        );
        assert!(
            own_versions("a", "tokio = { workspace = true, features = [\"time\"] }\n# about = 1").is_empty()
        );
        for own in
            ["bytes = \"1.10\"", "bytes = \"=1.10\"", "bytes = { version = \"1\" }", "version = \"0.1.0\""]
        {
            assert_eq!(own_versions("a", own).len(), 1, "{own}");
        }
    }
}
