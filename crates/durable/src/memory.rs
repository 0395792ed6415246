//! The memory of processes.

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
