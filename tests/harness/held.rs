//! Which memstores hold which partitions, as `mainstem partition list` tells it.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::tiers::Tiers;

/// Until a memstore that was killed is replaced: it counts as gone after a minute.
const HELD_MAX: Duration = Duration::from_secs(120);

/// A partition.
#[derive(Clone, Debug)]
pub struct Held {
    pub number: String,
    /// Who holds it. Those that do not serve have a word of it behind their names.
    pub replicas: Vec<String>,
}

impl Held {
    /// All partitions, in the order of their keys, as a frontend has them.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn of(tiers: &Tiers, frontend: usize) -> Result<Vec<Held>> {
        Ok(read(&tiers.partition(frontend, &["list"])?))
    }

    /// Moves a replica of it to the first of `memstores` that has none.
    ///
    /// # Errors
    /// When all have one, or the program fails.
    pub fn relocate(&self, tiers: &Tiers, frontend: usize, memstores: &[&str]) -> Result<()> {
        let from = &self.replicas[frontend % self.replicas.len()];
        let lacks = |name: &&&str| self.replicas.iter().all(|held| held != *name);
        let to = memstores.iter().find(lacks).context("all have a replica")?;
        tiers.partition(frontend, &["move", &self.number, "--from", from, "--to", to]).map(|_| ())
    }
}

fn read(list: &str) -> Vec<Held> {
    let held = |line: &str| {
        let (before, replicas) = line.rsplit_once("   ")?;
        let number = before.split_whitespace().nth(1)?.to_owned();
        Some(Held { number, replicas: replicas.split(", ").map(|name| name.trim().to_owned()).collect() })
    };
    list.lines().skip(1).filter_map(held).collect()
}

/// Waits until two of these memstores serve each partition, as every frontend has it. The program tells no other
/// process of it, so it is asked again and again.
///
/// # Errors
/// When that does not become so.
pub async fn all_serve(tiers: &Tiers, memstores: &[&str]) -> Result<()> {
    let deadline = Instant::now() + HELD_MAX;
    loop {
        let told = (0..tiers.endpoints().len()).map(|frontend| Held::of(tiers, frontend));
        let told = told.collect::<Result<Vec<_>>>()?;
        let serve = |held: &Held| {
            held.replicas.len() == 2 && held.replicas.iter().all(|name| memstores.contains(&&name[..]))
        };
        if told.iter().all(|partitions| !partitions.is_empty() && partitions.iter().all(serve)) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "it stays so: {told:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
