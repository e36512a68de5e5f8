//! What the measurements of a whole relay have in common.

/// A line of `/proc/PID/status` of a process, MB: `VmRSS`, or `VmHWM` for the peak.
pub(crate) fn memory(process: u32, line: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|candidate| candidate.starts_with(line)).unwrap();
    let kilobytes: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024.0 / 1e6
}
