//! Wall clocks that are wrong, one for each process, and can be turned while it runs.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use harness::server::Server;
use harness::tiers::Tier;
use tempfile::TempDir;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clocks/shift.c");
const DAY_MINUTES: i64 = 24 * 60;

/// The library that bends a process's clock, and a file for each process that says by how much.
pub(crate) struct WallClocks {
    folder: TempDir,
}

impl WallClocks {
    pub(crate) fn new() -> Result<WallClocks> {
        let clocks = WallClocks { folder: tempfile::tempdir()? };
        let mut compiler = Command::new("cc");
        compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(clocks.library()).arg(SOURCE);
        let built = compiler.status().context("start cc, the C compiler")?;
        ensure!(built.success(), "{SOURCE} cannot be built: {built}");
        Ok(clocks)
    }

    fn library(&self) -> PathBuf {
        self.folder.path().join("shift.so")
    }

    fn file(&self, tier: Tier) -> PathBuf {
        self.folder.path().join(format!("{tier:?}"))
    }

    /// From its next start on the process has a clock that is so many seconds ahead.
    pub(crate) fn give(&self, tier: Tier, server: &mut Server, seconds: i64) -> Result<()> {
        fs::write(self.file(tier), seconds.to_le_bytes())?;
        server.variable("WALL_CLOCK_SHIFT", self.file(tier));
        server.variable("LD_PRELOAD", self.library());
        Ok(())
    }

    /// Sets it, at once, while the process runs.
    pub(crate) fn turn(&self, tier: Tier, seconds: i64) -> Result<()> {
        // In place: the process looks at this very file.
        let file = File::options().write(true).open(self.file(tier))?;
        Ok(file.write_all_at(&seconds.to_le_bytes(), 0)?)
    }

    /// Whether the process has this clock: what it logs has its time.
    pub(crate) fn is_kept(server: &Server, seconds: i64) -> Result<()> {
        let log = server.log();
        let told = log.lines().find_map(minute_of_day).with_context(|| format!("no time in {log:?}"))?;
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let right = i64::try_from(now)? / 60;
        let away = (told - right - seconds / 60).rem_euclid(DAY_MINUTES);
        // It was logged a little while ago.
        ensure!(away == 0 || away > DAY_MINUTES - 10, "it is {away} minutes from {seconds} s ahead:\n{log}");
        Ok(())
    }
}

/// The first time in a line: `2026-01-31T23:59:…`.
fn minute_of_day(line: &str) -> Option<i64> {
    line.match_indices('T').find_map(|(at, _)| {
        let (hour, minute) = line.get(at + 1..at + 6)?.split_once(':')?;
        Some(hour.parse::<i64>().ok()? * 60 + minute.parse::<i64>().ok()?)
    })
}
