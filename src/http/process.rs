//! What the system knows of this process, from Linux' `/proc`; elsewhere nothing is told.

use std::{fs, time::Duration};

/// Linux counts CPU time in this unit on every architecture, whatever its own tick.
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: u64 = 1024;

/// The process as the system sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Process {
    pub(super) resident_bytes: u64,
    pub(super) cpu: Duration,
    pub(super) threads: u64,
    pub(super) open_fds: u64,
    /// When it started, in seconds after the Unix epoch.
    pub(super) start_seconds: f64,
}

impl Process {
    /// As it is now. `None` where the system does not tell.
    pub(super) fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The second field is the program's name in parentheses, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
        let since_boot = number(22)? / TICKS_PER_SECOND;
        let system = fs::read_to_string("/proc/stat").ok()?;
        let boot: f64 = after(&system, "btime ")?.parse().ok()?;
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let resident: u64 = after(&status, "VmRSS:")?.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Self {
            resident_bytes: resident * KIB,
            cpu: Duration::from_secs_f64((number(14)? + number(15)?) / TICKS_PER_SECOND),
            threads: after(&status, "Threads:")?.trim().parse().ok()?,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            start_seconds: boot + since_boot,
        })
    }
}

/// The rest of the line that begins so.
fn after<'a>(text: &'a str, start: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(start))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_tells_of_this_process() {
        let process = Process::read().unwrap();
        assert!(process.resident_bytes > 1 << 20, "{process:?}");
        assert!(process.open_fds >= 3 && process.threads >= 1, "{process:?}");
        assert!(process.start_seconds > 1_577_836_800.0, "{process:?}");
    }
}
