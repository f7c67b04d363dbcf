//! The machine a measurement was made on, and what it must have.

use anyhow::{Result, bail};
use serde::Serialize;

/// What a reader must know to compare figures.
#[derive(Debug, Serialize)]
pub struct Host {
    /// The CPU's own name, or `unknown`.
    pub cpu: String,
    /// CPUs this process may use.
    pub cpus: usize,
    /// The compare that [`emu_mmu::Backend::best`] chose.
    pub backend: &'static str,
    /// Share of the table that lay in huge pages, 0 to 1; absent where the host does not tell, or no
    /// table was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub huge_page_share: Option<f64>,
    /// What the C library was told of huge pages, for the peers' tables.
    pub malloc: String,
}

impl Host {
    /// Looks at this machine; the share is of the table that was measured.
    pub fn look(huge_page_share: Option<f64>) -> Self {
        Host {
            cpu: cpu_name().unwrap_or_else(|| "unknown".to_owned()),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
            backend: emu_mmu::Backend::best().name(),
            huge_page_share,
            malloc: std::env::var(TUNABLES).unwrap_or_else(|_| "as the host has it".to_owned()),
        }
    }
}

fn cpu_name() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn field_kib(path: &str, name: &str) -> Option<u64> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

/// Bytes of this process in huge pages, if the host tells.
pub fn huge_bytes() -> Option<u64> {
    field_kib("/proc/self/smaps_rollup", "AnonHugePages:").map(|kib| kib << 10)
}

/// Bytes of memory that this process has now, if the host tells.
pub fn resident_bytes() -> Option<u64> {
    field_kib("/proc/self/status", "VmRSS:").map(|kib| kib << 10)
}

/// Refuses to begin what the machine has no memory for.
pub fn require_memory(bytes: u64) -> Result<()> {
    if let Some(free) = field_kib("/proc/meminfo", "MemAvailable:").map(|kib| kib << 10)
        && free < bytes
    {
        bail!(
            "this needs {} MiB of memory and {} MiB are available; `--table-mib-max` or `--live-max` makes it smaller",
            bytes >> 20,
            free >> 20
        );
    }
    Ok(())
}

const TUNABLES: &str = "GLIBC_TUNABLES";
const HUGE: &str = "glibc.malloc.hugetlb=1";

/// Starts this program anew with the C library told to ask for huge pages, as our tables do: the peers'
/// tables come from its allocator, which reads that only at its start. Where that cannot be, goes on
/// without; the report tells.
#[cfg(target_os = "linux")]
pub fn with_huge_malloc() {
    use std::os::unix::process::CommandExt;
    let told = std::env::var(TUNABLES).unwrap_or_default();
    if told.contains("glibc.malloc.hugetlb") {
        return;
    }
    let tunables = match told.is_empty() {
        true => HUGE.to_owned(),
        false => format!("{told}:{HUGE}"),
    };
    let Ok(program) = std::env::current_exe() else {
        return;
    };
    let mut words = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = words.next() {
        command.arg0(name);
    }
    // It returns only if it failed.
    let _ = command.args(words).env(TUNABLES, tunables).exec();
}

/// Other hosts have no such switch.
#[cfg(not(target_os = "linux"))]
pub fn with_huge_malloc() {}
