//! CPU time and memory of a process, read from Linux's /proc. None where there is none.

use std::time::Duration;

/// The current memory, in megabytes (10^6 bytes).
pub(crate) fn memory_mb(pid: Option<u32>) -> Option<f64> {
    of_status(pid?, "VmRSS:")
}

/// The peak memory, in megabytes (10^6 bytes).
pub(crate) fn peak_memory_mb(pid: Option<u32>) -> Option<f64> {
    of_status(pid?, "VmHWM:")
}

/// The processor time that it has used so far.
pub(crate) fn cpu_time(pid: Option<u32>) -> Option<Duration> {
    /// Linux counts processor time in hundredths of a second, whatever its clock does.
    const TICK: Duration = Duration::from_millis(10);
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid?)).ok()?;
    // After the name in parentheses come the fields from the third on; 14 and 15 are user and system time.
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks = fields.split_whitespace().skip(11).take(2).map(|field| field.parse::<u32>().ok());
    Some(TICK * ticks.sum::<Option<u32>>()?)
}

fn of_status(pid: u32, field: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB"))?;
    Some(kib.parse::<f64>().ok()? * 1024.0 / 1e6)
}
