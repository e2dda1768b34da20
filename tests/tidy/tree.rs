//! The files of the repository, without what was built and what an editor keeps.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Every file and folder by its path from the root, written with `/`; folders without a slash at the end.
#[derive(Default)]
pub(crate) struct Tree {
    texts: BTreeMap<String, String>,
    paths: BTreeSet<String>,
}

impl Tree {
    pub(crate) fn read() -> Self {
        let mut tree = Self::default();
        tree.enter(root(), "");
        tree
    }

    /// A repository for the tests of a rule.
    #[cfg(test)]
    pub(crate) fn planted(paths: &[&str]) -> Self {
        Self { paths: paths.iter().map(|path| (*path).to_owned()).collect(), ..Self::default() }
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending_in(".rs")
    }

    pub(crate) fn documents(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending_in(".md")
    }

    /// The manifests of the members; the root's own is the one place for what they share.
    pub(crate) fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.ending_in("/Cargo.toml")
    }

    pub(crate) fn holds(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Whether any folder has something of this name.
    pub(crate) fn holds_somewhere(&self, name: &str) -> bool {
        self.paths
            .iter()
            .any(|path| path == name || path.strip_suffix(name).is_some_and(|at| at.ends_with('/')))
    }

    fn ending_in<'a>(&'a self, end: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.texts.iter().filter(move |(path, _)| path.ends_with(end)).map(|(path, text)| (&**path, &**text))
    }

    fn enter(&mut self, folder: &Path, prefix: &str) {
        for entry in fs::read_dir(folder).expect("a folder of the repository can be read") {
            let entry = entry.expect("its entries too");
            let name = entry.file_name().into_string().expect("names here are UTF-8");
            let path = format!("{prefix}{name}");
            if entry.file_type().expect("an entry has a type").is_dir() {
                if !is_foreign(&entry.path(), &name) {
                    self.enter(&entry.path(), &format!("{path}/"));
                    self.paths.insert(path);
                }
            } else {
                if let Ok(text) = fs::read_to_string(entry.path()) {
                    self.texts.insert(path.clone(), text);
                }
                self.paths.insert(path);
            }
        }
    }
}

/// The folder of the workspace, however the test was started.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package `tests` is a folder of the workspace")
}

/// Git's and editors' folders, cargo's targets (it marks them so), and the store that the README's command starts.
fn is_foreign(folder: &Path, name: &str) -> bool {
    let hidden = name.starts_with('.') && name != ".ci";
    hidden || name.ends_with(".data") || folder.join("CACHEDIR.TAG").exists()
}
