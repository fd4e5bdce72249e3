//! What this process has used so far: memory and processor time, as the kernel counts them.

use crate::sample::Sample;
use std::time::{Duration, Instant};

/// A moment before something grows.
#[derive(Debug)]
pub struct Before {
    resident_bytes: u64,
    page_table_bytes: u64,
    at: Instant,
}

impl Before {
    /// Takes the figures now.
    pub fn now() -> Before {
        let (resident_bytes, page_table_bytes) = (resident_bytes(), page_table_bytes());
        Before { resident_bytes, page_table_bytes, at: Instant::now() }
    }

    /// What each of `count` things cost since then: time, memory, and the kernel's page tables.
    pub fn sample(&self, count: u64) -> Sample {
        let elapsed = self.at.elapsed();
        let each = |now: u64, before: u64| now.saturating_sub(before) as f64 / count as f64;
        Sample::per(elapsed, count)
            .with("bytes", each(resident_bytes(), self.resident_bytes))
            .with("page_table_bytes", each(page_table_bytes(), self.page_table_bytes))
    }
}

/// Bytes of this process that are in memory.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    // SAFETY: `sysconf` only reads its argument.
    let page_bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    pages.expect("statm has a second number") * page_bytes
}

/// Bytes of the kernel's own tables about this process's pages.
fn page_table_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let line = status.lines().find_map(|line| line.strip_prefix("VmPTE:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.expect("status has a VmPTE line") * 1024
}

/// Processor time of this process so far, all threads, in the kernel too.
pub fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is ours to write, and the clock exists on Linux.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(failed, 0, "no processor clock");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// A wait of many sleepers, seen from both clocks.
#[derive(Debug)]
pub struct Watch {
    at: Instant,
    cpu: Duration,
}

impl Watch {
    /// Starts both clocks.
    pub fn start() -> Watch {
        Watch { at: Instant::now(), cpu: cpu_time() }
    }

    /// The whole time since, and how much of it the processor was ours.
    pub fn sample(&self) -> Sample {
        let cpu = cpu_time() - self.cpu;
        Sample::total(self.at.elapsed()).with("cpu_ns", cpu.as_nanos() as f64)
    }
}
