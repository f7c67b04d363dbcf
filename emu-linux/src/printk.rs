//! The kernel log: lines with level and guest time, the kernel's own reports, printk_ratelimit.
//!
//! Owns the exact wording of each modelled kernel. Refuses to decide when something is reported, and
//! refuses host time.

mod bugs;

pub use bugs::spinlock_recursion_report;

use crate::config::KernelVersion;
use crate::report::KernelReport;
use crate::reports::AtomicContext;
use crate::symbols::Backtrace;
use emu_core::Cycles;
use std::fmt::Write;
use std::hash::{Hash, Hasher};

/// Severity of a line (Linux KERN_EMERG to KERN_DEBUG); the most severe is the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// System is unusable.
    Emerg,
    /// Action must be taken at once.
    Alert,
    /// Critical.
    Crit,
    /// Error: the reports of this module.
    Err,
    /// Warning.
    Warning,
    /// Normal but significant.
    Notice,
    /// Informational.
    Info,
    /// Debugging: not on a console by default.
    Debug,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Clock of the CPU that printed it.
    pub at: Cycles,
    /// Severity.
    pub level: Level,
    /// The text, without prefix.
    pub text: String,
}

/// Whether rendered lines begin with the guest's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timestamps {
    /// Text alone, as in the report of March 2011 (CONFIG_PRINTK_TIME off).
    #[default]
    Off,
    /// `[    s.uuuuuu] ` first.
    On,
}

/// The log of one emulated kernel, in the order printed.
#[derive(Clone, Debug)]
pub struct KernelLog {
    frequency_mhz: u64,
    lines: Vec<LogLine>,
}

impl KernelLog {
    /// An empty log of a machine whose clock runs at `frequency_mhz`. At 0 MHz no time passes.
    pub fn new(frequency_mhz: u64) -> Self {
        KernelLog {
            frequency_mhz,
            lines: Vec::new(),
        }
    }

    /// Forgets all lines.
    pub(crate) fn clear(&mut self) {
        self.lines.clear();
    }

    /// Adds `text` at a CPU's clock. Each line of it is a line of the log.
    pub fn push(&mut self, at: Cycles, level: Level, text: &str) {
        let lines = text.lines().map(|text| LogLine {
            at,
            level,
            text: text.to_owned(),
        });
        self.lines.extend(lines);
    }

    /// Adds the lines of a report, all at one clock and level.
    pub fn push_report(&mut self, at: Cycles, level: Level, lines: &[String]) {
        for line in lines {
            self.push(at, level, line);
        }
    }

    /// The lines with their levels and clocks.
    pub fn records(&self) -> &[LogLine] {
        &self.lines
    }

    /// The lines as dmesg prints them: all levels, with or without the time.
    pub fn lines(&self, timestamps: Timestamps) -> Vec<String> {
        self.lines
            .iter()
            .map(|line| self.render(line, timestamps))
            .collect()
    }

    /// The lines that reach a console: those more severe than `console_loglevel` (Linux: 7 by default,
    /// which leaves debugging out).
    pub fn console_lines(&self, console_loglevel: u8, timestamps: Timestamps) -> Vec<String> {
        let shown = self
            .lines
            .iter()
            .filter(|line| (line.level as u8) < console_loglevel);
        shown.map(|line| self.render(line, timestamps)).collect()
    }

    fn render(&self, line: &LogLine, timestamps: Timestamps) -> String {
        match timestamps {
            Timestamps::Off => line.text.clone(),
            Timestamps::On => {
                let micros = line.at.get().checked_div(self.frequency_mhz).unwrap_or(0);
                format!(
                    "[{:5}.{:06}] {}",
                    micros / 1_000_000,
                    micros % 1_000_000,
                    line.text
                )
            }
        }
    }
}

/// The report of debug_smp_processor_id (Linux lib/smp_processor_id.c). `preempt_count_minus_1` is the
/// preempt count without the one that the report itself takes: 0 for a task that holds nothing.
/// The 6.1 form names the `cpu`, and has no register lines after the trace: the emulator has no user
/// registers to print.
pub fn smp_processor_id_report(
    kernel: KernelVersion,
    cpu: u16,
    comm: &str,
    pid: u32,
    preempt_count_minus_1: u32,
    backtrace: &Backtrace,
) -> Vec<String> {
    let mut lines = vec![
        format!(
            "BUG: using smp_processor_id() in preemptible [{preempt_count_minus_1:08x}] code: {comm}/{pid}"
        ),
        format!("caller is {}", backtrace.caller),
    ];
    push_stack_dump(&mut lines, kernel, cpu, comm, pid, backtrace);
    lines
}

/// The report of `__schedule_bug` (Linux kernel/sched.c, from 3.3 kernel/sched/core.c): the task
/// called the scheduler with this preempt count. No modules are linked in.
pub fn scheduling_while_atomic_report(
    kernel: KernelVersion,
    cpu: u16,
    comm: &str,
    pid: u32,
    preempt_count: u32,
    backtrace: &Backtrace,
) -> Vec<String> {
    let mut lines = vec![
        format!("BUG: scheduling while atomic: {comm}/{pid}/0x{preempt_count:08x}"),
        "Modules linked in:".to_owned(),
    ];
    push_stack_dump(&mut lines, kernel, cpu, comm, pid, backtrace);
    lines
}

/// The report of `__might_sleep` (Linux kernel/sched.c, in 6.1 `__might_resched` of kernel/sched/core.c) for a
/// lock that sleeps, checked at `place`, FILE:LINE.
pub(crate) fn sleeping_lock_report(
    kernel: KernelVersion,
    cpu: u16,
    comm: &str,
    pid: u32,
    place: &str,
    context: AtomicContext,
    backtrace: &Backtrace,
) -> Vec<String> {
    let (atomic, irqs) = (
        u32::from(context.preempt_count != 0),
        u32::from(context.irqs_off),
    );
    let mut lines = vec![format!(
        "BUG: sleeping function called from invalid context at {place}"
    )];
    match kernel {
        KernelVersion::V2_6_38 => lines.push(format!(
            "in_atomic(): {atomic}, irqs_disabled(): {irqs}, pid: {pid}, name: {comm}"
        )),
        KernelVersion::V6_1 => lines.extend([
            format!(
                "in_atomic(): {atomic}, irqs_disabled(): {irqs}, non_block: 0, pid: {pid}, name: {comm}"
            ),
            format!("preempt_count: {:x}, expected: 0", context.preempt_count),
        ]),
    }
    push_stack_dump(&mut lines, kernel, cpu, comm, pid, backtrace);
    lines
}

/// What dump_stack prints.
fn push_stack_dump(
    lines: &mut Vec<String>,
    kernel: KernelVersion,
    cpu: u16,
    comm: &str,
    pid: u32,
    backtrace: &Backtrace,
) {
    if kernel == KernelVersion::V6_1 {
        // The name is cut at 20 characters; the blank at the end stands before an absent build id.
        lines.push(format!(
            "CPU: {cpu} PID: {pid} Comm: {comm:.20} Not tainted {}-ppc-mmu-emu #1 ",
            kernel.name()
        ));
        lines.push("Hardware name: ppc-mmu-emu POWER8".to_owned());
    }
    lines.push("Call Trace:".to_owned());
    lines.extend(backtrace.lines.iter().map(ToString::to_string));
}

/// A swap area as swapon reports it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SwapArea<'a> {
    /// Usable size in KiB.
    pub kib: u64,
    /// Path of the file or device.
    pub device: &'a str,
    /// Priority.
    pub priority: i32,
    /// Number of extents.
    pub extents: u32,
    /// KiB that the extents span.
    pub across_kib: u64,
    /// Of a device without seeks (`SS`).
    pub solid_state: bool,
}

impl SwapArea<'static> {
    /// The area of the report of March 2011.
    pub const fn report_of_2011() -> Self {
        SwapArea {
            kib: 1_572_860,
            device: "/dev/sdb4",
            priority: -1,
            extents: 1,
            across_kib: 1_572_860,
            solid_state: true,
        }
    }
}

/// The line that swapon prints (Linux mm/swapfile.c, alike in 2.6.38 and 6.1): two blanks before
/// `Priority`, and one at the end when no flag follows.
pub fn swapon_line(area: &SwapArea<'_>) -> String {
    let mut line = format!("Adding {}k swap on {}.  ", area.kib, area.device);
    let flags = if area.solid_state { "SS" } else { "" };
    // Writing to a String cannot fail.
    let _ = write!(
        line,
        "Priority:{} extents:{} across:{}k {flags}",
        area.priority, area.extents, area.across_kib
    );
    line
}

/// The line that a rate limiter prints when it opens again; `function` called it
/// (debug_smp_processor_id in 2.6.38, check_preemption_disabled in 6.1).
pub fn suppressed_line(function: &str, callbacks: u32) -> String {
    format!("{function}: {callbacks} callbacks suppressed")
}

/// The function whose name a kernel gives [`suppressed_line`] for the smp_processor_id report.
pub const fn reporting_function(kernel: KernelVersion) -> &'static str {
    match kernel {
        KernelVersion::V2_6_38 => "debug_smp_processor_id",
        KernelVersion::V6_1 => "check_preemption_disabled",
    }
}

/// What a rate limiter says to one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RatelimitVerdict {
    /// It may be printed.
    pub allowed: bool,
    /// Messages refused in the window that just ended, to be reported first.
    pub suppressed_before: Option<u32>,
}

/// A rate limiter (Linux lib/ratelimit.c): in a window, the first `burst` messages pass. Time is the
/// guest's, in cycles instead of ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratelimit {
    interval_cycles: u64,
    burst: u32,
    restart_at_next: bool,
    begin_cycles: Option<u64>,
    printed: u32,
    missed: u32,
}

impl Ratelimit {
    /// A limiter of `burst` messages in `interval_cycles`. No interval refuses nothing; no burst
    /// refuses everything.
    pub const fn new(interval_cycles: u64, burst: u32) -> Self {
        Ratelimit {
            interval_cycles,
            burst,
            restart_at_next: true,
            begin_cycles: None,
            printed: 0,
            missed: 0,
        }
    }

    /// printk_ratelimit's: 10 messages in 5 s of a clock of `frequency_mhz`.
    pub const fn printk(frequency_mhz: u64) -> Self {
        Self::new(frequency_mhz.saturating_mul(5_000_000), 10)
    }

    /// The same limiter as another kernel has it. When a window has ended, 2.6.38 (the default here)
    /// counts the message that finds it so and starts the next window at the message after it; since
    /// "ratelimit: fix bug in time interval by resetting right begin time" (Linux 4.8) the window
    /// starts at once.
    pub const fn of_kernel(mut self, kernel: KernelVersion) -> Self {
        self.restart_at_next = matches!(kernel, KernelVersion::V2_6_38);
        self
    }

    /// What decides the next verdicts within a window.
    pub(crate) fn hash_state(&self, to: &mut impl Hasher) {
        (self.begin_cycles.is_some(), self.printed, self.missed).hash(to);
    }

    /// Asks for one message at a CPU's clock. The first call starts the window; one is over when more
    /// than the interval has passed.
    pub fn allow(&mut self, now_cycles: u64) -> RatelimitVerdict {
        if self.interval_cycles == 0 {
            return RatelimitVerdict {
                allowed: true,
                suppressed_before: None,
            };
        }
        let begin = *self.begin_cycles.get_or_insert(now_cycles);
        let mut suppressed_before = None;
        // CPUs have clocks of their own, so now may be before begin.
        if now_cycles.saturating_sub(begin) > self.interval_cycles {
            suppressed_before = (self.missed > 0).then_some(self.missed);
            self.begin_cycles = (!self.restart_at_next).then_some(now_cycles);
            self.printed = 0;
            self.missed = 0;
        }
        let allowed = self.printed < self.burst;
        if allowed {
            self.printed += 1;
        } else {
            self.missed = self.missed.saturating_add(1);
        }
        RatelimitVerdict {
            allowed,
            suppressed_before,
        }
    }

    /// Messages refused and not yet reported.
    pub const fn missed(&self) -> u32 {
        self.missed
    }
}

impl KernelReport {
    /// A report from its pieces. `lines` is what was printed: the first is the message.
    pub fn new(comm: &str, pid: u32, lines: &[String], backtrace: &Backtrace) -> Self {
        KernelReport {
            comm: comm.to_owned(),
            pid,
            message: lines.first().cloned().unwrap_or_default(),
            caller: backtrace.caller.clone(),
            chain: backtrace
                .lines
                .iter()
                .map(|line| line.text.clone())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests;
