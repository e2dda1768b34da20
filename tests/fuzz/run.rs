//! Trying inputs: one, many, or until one breaks something.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::mutation::Mutation;
use crate::targets::Target;
use crate::{allocation, corpus};

/// What trying came to.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) runs: u64,
    pub(crate) most_bytes_allocated: usize,
}

/// An input that broke a promise.
pub(crate) struct Broken {
    pub(crate) runs: u64,
    bytes: Vec<u8>,
    why: String,
}

/// Tries one input.
///
/// # Panics
/// Where it breaks a promise, with all that is needed to try it again.
pub(crate) fn once(target: &Target, bytes: &[u8], name: &str) {
    if let Err(why) = attempt(target, bytes) {
        panic!("{}: {name} broke a promise: {why}", target.name);
    }
}

/// The bytes allocated at one time, or what went wrong.
fn attempt(target: &Target, bytes: &[u8]) -> Result<usize, String> {
    let mut outcome = Ok(());
    let peak = allocation::peak_of(|| {
        outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(bytes)));
    });
    outcome.map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
    })?;
    let allowed = (target.allocation)(bytes.len());
    if peak <= allowed {
        return Ok(peak);
    }
    Err(format!("{peak} bytes were allocated for {}, and {allowed} would be right", bytes.len()))
}

/// Tries changed inputs: so many, or for so long and with other changes than the last time.
///
/// # Panics
/// Where one breaks a promise; it is kept in a file, whose name is told.
pub(crate) fn many(target: &Target, runs: u64, seconds: Option<u64>) -> Told {
    let seed = if seconds.is_some() { rand::random() } else { 0x5eed };
    let until = seconds.map(|seconds| Instant::now() + Duration::from_secs(seconds));
    let inputs = corpus::inputs(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    let mut search = Search::new(target, inputs, seed);
    loop {
        let is_over = until.map_or(search.told.runs >= runs, |until| {
            search.told.runs.is_multiple_of(64) && until <= Instant::now()
        });
        if is_over {
            return search.told;
        }
        if let Some(broken) = search.step() {
            let file = keep(target, &broken.bytes);
            panic!(
                "{}: broken after {} runs: {}\nit is kept in {}",
                target.name,
                broken.runs,
                broken.why,
                file.display()
            );
        }
    }
}

/// Looks for an input that breaks a promise.
pub(crate) fn search(target: &Target, seed_input: &[u8], runs_max: u64) -> Option<Broken> {
    let mut search = Search::new(target, vec![seed_input.to_vec()], 1);
    (0..runs_max).find_map(|_| search.step())
}

struct Search<'a> {
    target: &'a Target,
    inputs: Vec<Vec<u8>>,
    mutation: Mutation,
    told: Told,
}

impl<'a> Search<'a> {
    fn new(target: &'a Target, inputs: Vec<Vec<u8>>, seed: u64) -> Search<'a> {
        // What is made once for all is no input's fault.
        inputs.iter().for_each(|input| drop(attempt(target, input)));
        let told = Told { runs: 0, most_bytes_allocated: 0 };
        Search { target, inputs, mutation: Mutation::new(seed), told }
    }

    fn step(&mut self) -> Option<Broken> {
        let [one, other] = [(); 2].map(|()| self.mutation.pick(self.inputs.len()));
        let mut bytes = self.inputs[one].clone();
        self.mutation.change(&mut bytes, &self.inputs[other]);
        self.told.runs += 1;
        match attempt(self.target, &bytes) {
            Ok(peak) => {
                self.told.most_bytes_allocated = self.told.most_bytes_allocated.max(peak);
                None
            }
            Err(why) => Some(Broken { runs: self.told.runs, bytes, why }),
        }
    }
}

fn keep(target: &Target, bytes: &[u8]) -> PathBuf {
    let file = std::env::temp_dir().join(format!("mainstem-fuzz-{}-{}", target.name, std::process::id()));
    std::fs::write(&file, bytes).expect("the temporary directory can be written");
    file
}
