//! The kernel's report of a lock taken twice.
//!
//! Owns its wording. Refuses to decide when: `sync` does.

use super::push_stack_dump;
use crate::config::KernelVersion;
use crate::symbols::Backtrace;

/// The report of spin_bug (Linux lib/spinlock_debug.c, in 6.1 kernel/locking/spinlock_debug.c): the task
/// waits for a lock that it holds. The line with the lock's owner names the lock, not its address.
pub fn spinlock_recursion_report(
    kernel: KernelVersion,
    cpu: u16,
    comm: &str,
    pid: u32,
    lock: &str,
    backtrace: &Backtrace,
) -> Vec<String> {
    let mut lines = vec![
        format!("BUG: spinlock recursion on CPU#{cpu}, {comm}/{pid}"),
        format!(" lock: {lock}, .owner: {comm}/{pid}, .owner_cpu: {cpu}"),
    ];
    push_stack_dump(&mut lines, kernel, cpu, comm, pid, backtrace);
    lines
}
