//! Where the judges are: programs that `.ci/tools` builds, and our own.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// The folder of the judges' binaries, from `MAINSTEM_TOOLS_BIN`.
///
/// # Errors
/// When the variable is not set or names no such program: a suite without its judge has not run.
pub fn judge(name: &str) -> Result<PathBuf> {
    let folder = std::env::var_os("MAINSTEM_TOOLS_BIN")
        .context("MAINSTEM_TOOLS_BIN is not set: run the suite by `.ci/run`, which builds its judges")?;
    let path = Path::new(&folder).join(name);
    if !path.exists() {
        bail!("{} is missing: `.ci/tools` builds it", path.display());
    }
    Ok(path)
}

/// Our own program, as cargo built it beside this test.
///
/// # Errors
/// When it was not built: `cargo build -p frontend --bins` in the same profile does.
pub fn mainstem() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("MAINSTEM_BIN") {
        return Ok(path.into());
    }
    let test = std::env::current_exe().context("where this test is")?;
    // target/PROFILE/deps/TEST
    let profile = test.parent().and_then(Path::parent).context("a test stands in target/PROFILE/deps")?;
    let path = profile.join("mainstem");
    if !path.exists() {
        bail!("{} is missing: build it in this profile with `cargo build -p frontend`", path.display());
    }
    Ok(path)
}
