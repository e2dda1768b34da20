//! Inputs on disk: small files, a folder for each target.

use std::path::PathBuf;

/// A folder has no more files than this, and a file no more bytes.
const FILES_MAX: usize = 30;
pub(crate) const BYTES_MAX: usize = 4 << 10;

fn folder(target: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz", "corpus", target].iter().collect()
}

/// All of a target's, by name.
pub(crate) fn inputs(target: &str) -> Vec<(String, Vec<u8>)> {
    let folder = folder(target);
    let files = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let input = |file: std::io::Result<std::fs::DirEntry>| {
        let file = file.expect("a folder is read to its end");
        let bytes = std::fs::read(file.path()).expect("it was just listed");
        (file.file_name().to_string_lossy().into_owned(), bytes)
    };
    let mut inputs: Vec<_> = files.map(input).collect();
    inputs.sort();
    inputs
}

pub(crate) fn within_bounds(target: &str) {
    let inputs = inputs(target);
    assert!(inputs.len() <= FILES_MAX, "{target} has {} files, more than {FILES_MAX}", inputs.len());
    for (name, bytes) in inputs {
        assert!(bytes.len() < BYTES_MAX, "{target}/{name} has {} bytes", bytes.len());
        assert!(
            name.starts_with("seed-") || name.starts_with("found-"),
            "{target}/{name}: seed-, or found-?"
        );
    }
}

/// Whether a seed is on disk as it is made today; where `UPDATE_CORPUS` is set, it is written.
pub(crate) fn check(target: &str, name: &str, bytes: &[u8]) {
    let path = folder(target).join(format!("seed-{name}"));
    if std::env::var_os("UPDATE_CORPUS").is_some() {
        std::fs::create_dir_all(folder(target)).expect("the checkout can be written");
        std::fs::write(&path, bytes).expect("the checkout can be written");
    }
    let kept = std::fs::read(&path).unwrap_or_default();
    let advice = "what is encoded has changed: UPDATE_CORPUS=1 cargo test -p tests --test fuzz seeds";
    assert!(kept == bytes, "{}: {advice}", path.display());
}
