//! Our program as a shell starts it: its arguments, its limits, what it says and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use anyhow::{Context, Result, ensure};

use crate::tools;

/// How a program ended that was not able to start.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// `None`: by a signal.
    pub code: Option<i32>,
    pub output: String,
    pub complaint: String,
}

impl Refusal {
    /// The one line for a person: what happened, why, and what to do about it.
    #[must_use]
    pub fn sentence(&self) -> &str {
        self.complaint.lines().rfind(|line| line.starts_with("mainstem: ")).unwrap_or_default()
    }
}

/// Our program with these arguments and variables. It is asked about nothing: it should end by itself.
///
/// # Errors
/// When it could not be started, or serves instead of ending; then it is killed.
pub fn refused(arguments: &[&str], variables: &[(&str, &str)]) -> Result<Refusal> {
    let mut command = Command::new(tools::mainstem()?);
    command.args(arguments).envs(variables.iter().copied());
    end_of(command)
}

/// As `refused`, and no file may become larger than so many KiB: the disk is full there.
///
/// # Errors
/// As `refused`.
pub fn refused_on_a_full_disk(kib: u64, arguments: &[&str]) -> Result<Refusal> {
    end_of(limited(&kib.to_string(), arguments)?)
}

/// A command under a limit of the size of files. A shell sets it, so that this process needs no `unsafe`.
fn limited(kib: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("bash");
    // Without the signal's default, which is to die of it, the write fails as on a full disk.
    let script = format!("trap '' XFSZ; ulimit -f {kib}; exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(tools::mainstem()?).args(arguments);
    Ok(command)
}

/// What a program that has ended well has printed.
///
/// # Errors
/// What it complained of.
pub fn printed(output: &Output) -> Result<String> {
    ensure!(output.status.success(), "{}", complaint(output));
    Ok(String::from_utf8(output.stdout.clone())?)
}

#[must_use]
pub fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Our program, serving on a disk that can be filled. Dropping it kills it.
pub struct Serving(Child);

impl Serving {
    /// Returns when it is ready.
    ///
    /// # Errors
    /// When it ends instead; what it said goes to this process's standard error.
    pub fn start(arguments: &[&str]) -> Result<Serving> {
        let mut command = limited("unlimited", arguments)?;
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut serving = Serving(command.spawn().context("it starts")?);
        let lines = BufReader::new(serving.0.stdout.take().expect("it is piped")).lines();
        let ready = lines.map_while(std::result::Result::ok).any(|line| line.contains("is ready"));
        ensure!(ready, "it ends instead of serving: {:?}", serving.ended()?);
        Ok(serving)
    }

    /// From now on no file may become larger than so many bytes: the disk is full.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn fill_disk(&self, bytes: u64) -> Result<()> {
        let (process, size) = (self.0.id().to_string(), format!("--fsize={bytes}"));
        let set = Command::new("prlimit").args(["--pid", &process, &size]).status().context("prlimit")?;
        ensure!(set.success(), "prlimit: {set}");
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it cannot be waited for.
    pub fn ended(&mut self) -> Result<Refusal> {
        let mut complaint = String::new();
        self.0.stderr.take().context("it has ended before")?.read_to_string(&mut complaint)?;
        Ok(Refusal { code: self.0.wait()?.code(), output: String::new(), complaint })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Only the arguments that every start on `data` and `port` has.
#[must_use]
pub fn arguments(data: &Path, port: u16) -> Vec<String> {
    let url = format!("http://127.0.0.1:{port}");
    let data = data.display().to_string();
    ["--data-dir", &data, "--listen-client-urls", &url, "--advertise-client-urls", &url]
        .map(str::to_owned)
        .to_vec()
}

fn end_of(mut command: Command) -> Result<Refusal> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().context("it starts")?;
    let mut errors = child.stderr.take().expect("it is piped");
    let errors = std::thread::spawn(move || {
        let mut text = String::new();
        errors.read_to_string(&mut text).map(|_| text)
    });
    let mut output = String::new();
    for line in BufReader::new(child.stdout.take().expect("it is piped")).lines() {
        let line = line?;
        output += &line;
        output.push('\n');
        // The banner: it serves.
        if line.contains("is ready") {
            child.kill()?;
        }
    }
    let code = child.wait()?.code();
    let complaint = errors.join().expect("reading does not panic")?;
    Ok(Refusal { code, output, complaint })
}
