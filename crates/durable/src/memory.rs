//! The memory of processes.

use std::path::Path;

/// The resident memory of a process, or of this one without `pid`, in bytes. proc(5) calls it
/// inaccurate; the accurate `smaps_rollup` costs much more.
pub fn resident(pid: Option<u32>) -> Option<u64> {
    status(pid, "VmRSS:")
}

/// The highest [`resident`] memory of a process so far.
pub fn peak(pid: Option<u32>) -> Option<u64> {
    status(pid, "VmHWM:")
}

fn status(pid: Option<u32>, field: &str) -> Option<u64> {
    let process = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// What the machine has, or what the process's control group may use if that is less, in bytes.
pub fn available() -> Option<u64> {
    let machine = std::fs::read_to_string("/proc/meminfo").ok()?;
    let machine = machine.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = machine.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10;
    Some(group().map_or(machine, |group| group.min(machine)))
}

// The least limit of the process's group and those above it (cgroups(7), version 2); in a container the root is its own.
fn group() -> Option<u64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let limit = |group: &Path| {
        let limit = Path::new("/sys/fs/cgroup").join(group).join("memory.max");
        std::fs::read_to_string(limit).ok()?.trim().parse::<u64>().ok()
    };
    Path::new(own).ancestors().filter_map(limit).min()
}
