//! What the system knows of this process, from `/proc`. Elsewhere these families are absent.

use std::fs;

use super::page::{Kind, Page, as_f64};

/// The kernel counts processor time in hundredths of a second, on every architecture that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn write(page: &mut Page) {
    let open = fs::read_dir("/proc/self/fd").map(Iterator::count).unwrap_or_default() as u64;
    let limit = descriptors_max();
    page.gauge("os_fd_limit", "How many files may be open.", as_f64(limit));
    page.gauge("os_fd_used", "How many files are open.", as_f64(open));
    page.gauge("process_max_fds", "How many files may be open.", as_f64(limit));
    page.gauge("process_open_fds", "How many files are open.", as_f64(open));
    if let Some(stat) = Stat::read() {
        stat.write(page);
    }
    if let Some((received, sent)) = network() {
        let help = "Bytes received over the network by this network namespace.";
        page.counter("process_network_receive_bytes_total", help, received);
        let help = "Bytes sent over the network by this network namespace.";
        page.counter("process_network_transmit_bytes_total", help, sent);
    }
    page.family("process_virtual_memory_max_bytes", Kind::Gauge, "How much address space there may be.");
    page.sample("", limit_of("Max address space").map_or(u64_max(), as_f64));
}

/// How many files may be open.
pub(crate) fn descriptors_max() -> u64 {
    limit_of("Max open files").unwrap_or_default()
}

fn u64_max() -> f64 {
    as_f64(u64::MAX)
}

/// A soft limit. `None` where there is none.
fn limit_of(name: &str) -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The fields of `/proc/self/stat` that are told.
struct Stat {
    cpu_seconds: f64,
    /// After the machine's start.
    started_seconds: f64,
    virtual_bytes: f64,
}

impl Stat {
    fn read() -> Option<Stat> {
        Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)
    }

    /// The program's name, in parentheses, may hold anything: the numbers begin after the last of them.
    fn parse(text: &str) -> Option<Stat> {
        let (_, rest) = text.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // `rest` begins with the third field.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        Some(Stat {
            cpu_seconds: (field(14)? + field(15)?) / TICKS_PER_SECOND,
            started_seconds: field(22)? / TICKS_PER_SECOND,
            virtual_bytes: field(23)?,
        })
    }

    fn write(&self, page: &mut Page) {
        let booted = boot_seconds().unwrap_or_default();
        page.counter("process_cpu_seconds_total", "Processor time, in seconds.", self.cpu_seconds);
        #[expect(clippy::cast_precision_loss, reason = "a page tells figures so")]
        let resident = resident_bytes().unwrap_or_default() as f64;
        page.gauge("process_resident_memory_bytes", "Memory that is resident.", resident);
        let started = booted + self.started_seconds;
        page.gauge("process_start_time_seconds", "When the process began, in Unix time.", started);
        page.gauge("process_virtual_memory_bytes", "Address space in use.", self.virtual_bytes);
    }
}

/// Of all that is resident, what the system cannot do without: not files, which it reads again.
pub(crate) fn anonymous_bytes() -> Option<u64> {
    status_bytes("RssAnon:")
}

fn resident_bytes() -> Option<u64> {
    status_bytes("VmRSS:")
}

/// In bytes whatever the size of a page.
fn status_bytes(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    bytes_of(name, &status)
}

/// What a file of `/proc` has under this name in KiB.
pub(crate) fn bytes_of(name: &str, text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

fn boot_seconds() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Bytes received and sent, over all interfaces.
fn network() -> Option<(f64, f64)> {
    let text = fs::read_to_string("/proc/self/net/dev").ok()?;
    let (mut received, mut sent) = (0.0, 0.0);
    for line in text.lines().skip(2) {
        let fields: Vec<f64> =
            line.split_once(':')?.1.split_whitespace().filter_map(|field| field.parse().ok()).collect();
        received += fields.first()?;
        sent += fields.get(8)?;
    }
    Some((received, sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b (c)) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 12345 4096000 10 1844";
        let stat = Stat::parse(text).expect("all fields are there");
        assert_eq!((stat.cpu_seconds, stat.started_seconds), (3.0, 123.45));
        assert_eq!(stat.virtual_bytes, 4_096_000.0);
    }

    #[test]
    fn this_process_has_files_and_memory() {
        let mut page = Page::default();
        write(&mut page);
        let text = page.text();
        for name in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
            let line = text.lines().find(|line| line.starts_with(name)).expect(name);
            let value: f64 = line.split(' ').next_back().expect("a value").parse().expect("a number");
            assert!(value >= 0.0, "{line}");
        }
    }
}
