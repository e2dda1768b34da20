//! How much memory this process may use: what it was told, else what the system gives to it and those beside it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::metrics::process::bytes_of;

/// In bytes. `told`: 0 is nothing.
pub(super) fn memory_limit(told: u64) -> u64 {
    match told {
        0 => found(Path::new("/")).unwrap_or(u64::MAX),
        told => told,
    }
}

/// The least of what the machine has and what any control group around this process allows.
fn found(root: &Path) -> Option<u64> {
    let machine = fs::read_to_string(root.join("proc/meminfo")).ok();
    let machine = machine.and_then(|text| bytes_of("MemTotal:", &text));
    let groups = fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default();
    let files = groups.lines().flat_map(limit_files);
    let allowed = files.filter_map(|file| {
        let text = fs::read_to_string(root.join(file)).ok()?;
        // "max" is none.
        text.trim().parse().ok()
    });
    machine.into_iter().chain(allowed).min()
}

/// Where the limits of a group and of those around it are, given a line of `/proc/self/cgroup`: version 2 has one
/// line, without controllers; of version 1 that of memory counts.
fn limit_files(line: &str) -> Vec<PathBuf> {
    let mut fields = line.splitn(3, ':').skip(1);
    let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { return Vec::new() };
    let (mount, name) = match controllers {
        "" => ("sys/fs/cgroup", "memory.max"),
        _ if controllers.split(',').any(|controller| controller == "memory") => {
            ("sys/fs/cgroup/memory", "memory.limit_in_bytes")
        }
        _ => return Vec::new(),
    };
    let group = Path::new(group.trim_start_matches('/'));
    group.ancestors().map(|group| Path::new(mount).join(group).join(name)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("there is room");
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("it has a folder")).expect("there is room");
            fs::write(path, text).expect("there is room");
        }
        root
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       8000000 kB\nMemFree:  1 kB\n");

    #[test]
    fn the_least_limit_around_the_process_counts() {
        let of = |files: &[(&str, &str)]| found(machine(files).path());
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[MEMINFO]), Some(8_192_000_000));
        let group = ("proc/self/cgroup", "0::/system.slice/store.service\n");
        let own = ("sys/fs/cgroup/system.slice/store.service/memory.max", "2000000000\n");
        let around = ("sys/fs/cgroup/system.slice/memory.max", "1000000000\n");
        let none = ("sys/fs/cgroup/system.slice/memory.max", "max\n");
        assert_eq!(of(&[MEMINFO, group, own, none]), Some(2_000_000_000));
        assert_eq!(of(&[MEMINFO, group, own, around]), Some(1_000_000_000));
        let old = ("proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/pod\n");
        let limit = ("sys/fs/cgroup/memory/pod/memory.limit_in_bytes", "3000000000\n");
        let endless = ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(of(&[MEMINFO, old, limit, endless]), Some(3_000_000_000));
        assert_eq!(of(&[MEMINFO, old, endless]), Some(8_192_000_000));
    }

    #[test]
    fn what_was_told_counts_before_all() {
        assert_eq!(memory_limit(5), 5);
        assert!(memory_limit(0) > 0);
    }
}
