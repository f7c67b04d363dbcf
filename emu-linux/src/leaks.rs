//! What a run did not give back: memory, addresses, preempt counts, locks, lazy sections.
//!
//! Owns the ledger of what is held now and by whom, kept beside the guest and only in runs that ask for it,
//! and the judgement at the end. Kernel page tables that are linked stay for good, areas that wait for a
//! purge and blocks of vm_map_ram with nothing in use are as Linux leaves them: none is a leak. Refuses to
//! judge memory after a kernel died: nobody was left to free it.

mod memory;

use crate::injection::{AllocKind, FailedAllocation, innermost};
use crate::kernel::Linux;
use crate::memmap::{batch, field, global, pcpu, percpu, percpu_owner};
use crate::mm::Mm;
use emu_core::Ctx;
use emu_mmu::{Ea, GuestMemory};
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};

/// Allocations of a run and what became of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Accounting {
    /// Allocations with GFP_KERNEL that could have been made to fail.
    pub allocations: u64,
    /// The one that was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<FailedAllocation>,
    /// What was not given back.
    pub leaks: Vec<Leak>,
}

/// Something that was not given back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Leak {
    /// What: a kind of memory, `preempt count`, `lock NAME`, `lazy MMU mode`, `active batch`.
    pub what: String,
    /// The function that took it, as far as the model names it.
    pub function: String,
    /// Name of the task that took it.
    pub comm: String,
    /// Its process id.
    pub pid: u32,
    /// How many of them.
    pub count: u64,
}

/// Who took something.
#[derive(Clone, Debug)]
struct Taker {
    function: &'static str,
    comm: String,
    pid: u32,
}

impl Taker {
    fn leak(&self, what: String, count: u64) -> Leak {
        Leak {
            what,
            function: self.function.to_owned(),
            comm: self.comm.clone(),
            pid: self.pid,
            count,
        }
    }
}

/// What is held now.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// Memory, by real address.
    memory: BTreeMap<u64, (AllocKind, Taker)>,
    /// Functions that raised a task's preempt count, by the task's address.
    preempt: HashMap<u64, Vec<&'static str>>,
    /// Functions that entered a lazy section of a task.
    lazy: HashMap<u64, Vec<&'static str>>,
    /// Locks: address, task, function.
    locks: Vec<(u64, u64, &'static str)>,
    /// What tasks that have exited left.
    left: Vec<Leak>,
}

/// A change of what a task holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// preempt_count goes up.
    PreemptOff,
    /// preempt_count goes down.
    PreemptOn,
    /// A lazy section begins.
    LazyEnter,
    /// A lazy section ends.
    LazyLeave,
    /// A lock is taken.
    Lock(Ea),
    /// A lock is released.
    Unlock(Ea),
}

impl Linux {
    fn ledger(&self) -> Option<&Mutex<Ledger>> {
        self.ledger.as_ref()
    }

    /// Memory was taken.
    #[inline]
    pub(crate) fn note_taken(&self, cx: &Ctx<'_>, kind: AllocKind, at: u64) {
        if self.ledger.is_some() {
            self.enter_taken(cx, kind, at);
        }
    }

    #[inline(never)]
    fn enter_taken(&self, cx: &Ctx<'_>, kind: AllocKind, at: u64) {
        if let Some(ledger) = self.ledger() {
            let (comm, pid) = self.comm_and_pid(cx);
            let function = innermost(cx);
            let taker = Taker {
                function,
                comm,
                pid,
            };
            ledger.lock().memory.insert(at, (kind, taker));
        }
    }

    /// Memory was given back, or somebody else sees to it.
    #[inline]
    pub(crate) fn note_given(&self, at: u64) {
        if self.ledger.is_some() {
            self.enter_given(at);
        }
    }

    #[inline(never)]
    fn enter_given(&self, at: u64) {
        if let Some(ledger) = self.ledger() {
            ledger.lock().memory.remove(&at);
        }
    }

    /// The running task takes or gives back something that is not memory.
    #[inline]
    pub(crate) fn note_hold(&self, cx: &Ctx<'_>, hold: Hold) {
        if self.ledger.is_some() {
            self.enter_hold(cx, hold);
        }
    }

    #[inline(never)]
    fn enter_hold(&self, cx: &Ctx<'_>, hold: Hold) {
        let Some(ledger) = self.ledger() else { return };
        let (task, function) = (cx.local(), innermost(cx));
        let mut ledger = ledger.lock();
        match hold {
            Hold::PreemptOff => ledger.preempt.entry(task).or_default().push(function),
            Hold::PreemptOn => {
                ledger.preempt.entry(task).or_default().pop();
            }
            Hold::LazyEnter => ledger.lazy.entry(task).or_default().push(function),
            Hold::LazyLeave => {
                ledger.lazy.entry(task).or_default().pop();
            }
            Hold::Lock(lock) => ledger.locks.push((lock.get(), task, function)),
            Hold::Unlock(lock) => {
                let at = ledger.locks.iter().rposition(|held| held.0 == lock.get());
                if let Some(at) = at {
                    ledger.locks.remove(at);
                }
            }
        }
    }

    /// The running task exits: what it still holds is left for good.
    pub(crate) fn note_exit(&self, cx: &Ctx<'_>) {
        let Some(ledger) = self.ledger() else { return };
        let (comm, pid) = self.comm_and_pid(cx);
        let task = cx.local();
        let mut ledger = ledger.lock();
        let mut left = Vec::new();
        let mut leaves = |what: String, function| {
            let comm = comm.clone();
            left.push(
                Taker {
                    function,
                    comm,
                    pid,
                }
                .leak(what, 1),
            );
        };
        for function in ledger.preempt.remove(&task).unwrap_or_default() {
            leaves("preempt count".to_owned(), function);
        }
        for function in ledger.lazy.remove(&task).unwrap_or_default() {
            leaves("lazy MMU mode".to_owned(), function);
        }
        ledger.locks.retain(|&(lock, of, function)| {
            if of == task {
                leaves(format!("lock {}", lock_name(Ea::new(lock))), function);
            }
            of != task
        });
        ledger.left.extend(left);
    }

    /// Allocations, the failure and what was left, at the end of the run. `alive` is false if the kernel
    /// died; `areas_stay` is true if areas still in use are the source's own doing.
    pub(crate) fn accounting(
        &self,
        memory: &GuestMemory,
        alive: bool,
        areas_stay: bool,
    ) -> Option<Accounting> {
        let ledger = self.ledger()?.lock();
        let mut leaks = ledger.left.clone();
        if alive {
            leaks.extend(self.batches_left(memory));
            leaks.extend(self.memory_left(memory, &ledger, areas_stay));
        }
        Some(Accounting {
            allocations: self.kept.allocations(),
            failed: self.failed.lock().clone(),
            leaks: summed(leaks),
        })
    }

    /// Batches that are active or hold entries although no task is left.
    fn batches_left(&self, memory: &GuestMemory) -> Vec<Leak> {
        let load = |at: Ea| memory.load_u64(crate::layout::pa(at)).unwrap_or(0);
        let mut leaks = Vec::new();
        for cpu in 0..self.cpus {
            let b = field(percpu(cpu), pcpu::tlb_batch(self.batch_size));
            let active = load(field(b, batch::ACTIVE));
            let queued = load(field(b, batch::INDEX));
            for (what, count) in [("active batch", active), ("queued page", queued)] {
                if count != 0 {
                    leaks.push(Leak {
                        what: what.to_owned(),
                        function: format!("the batch of CPU {cpu}"),
                        comm: String::new(),
                        pid: 0,
                        count,
                    });
                }
            }
        }
        leaks
    }
}

/// Adds up what differs in nothing but its count.
fn summed(leaks: Vec<Leak>) -> Vec<Leak> {
    let mut sums: BTreeMap<Leak, u64> = BTreeMap::new();
    for leak in leaks {
        let count = leak.count;
        *sums.entry(Leak { count: 0, ..leak }).or_default() += count;
    }
    sums.into_iter()
        .map(|(leak, count)| Leak { count, ..leak })
        .collect()
}

/// Name of a lock, or its address.
pub(crate) fn lock_name(lock: Ea) -> String {
    let known = [
        (Mm::INIT.page_table_lock(), "init_mm.page_table_lock"),
        (global::NATIVE_TLBIE_LOCK, "native_tlbie_lock"),
        (global::PSERIES_LPAR_TLBIE_LOCK, "pSeries_lpar_tlbie_lock"),
        (global::ZONE_LOCK, "zone->lock"),
        (global::VMAP_AREA_LOCK, "vmap_area_lock"),
        (global::MM_CONTEXT_LOCK, "mmu_context_lock"),
        (global::TASKLIST_LOCK, "tasklist_lock"),
        (global::SLEEPING_PTL, "init_mm.page_table_lock (rt)"),
    ];
    match known.iter().find(|(at, _)| *at == lock) {
        Some((_, name)) => (*name).to_owned(),
        None => lock_of_cpu(lock).unwrap_or_else(|| format!("at {:#x}", lock.get())),
    }
}

/// Name of a lock in a per-CPU area.
fn lock_of_cpu(lock: Ea) -> Option<String> {
    let cpu = percpu_owner(lock);
    let known = [
        (pcpu::LOCAL_LOCK, "local_lock"),
        (pcpu::RQ_LOCK, "rq->lock"),
        (pcpu::VMAP_BLOCK_LOCK, "vmap_block_queue.lock"),
    ];
    let of_this = |&&(offset, _): &&(u64, &str)| cpu < 64 && field(percpu(cpu), offset) == lock;
    known
        .iter()
        .find(of_this)
        .map(|(_, name)| format!("{name} of CPU {cpu}"))
}

impl std::fmt::Display for Leak {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} {}, taken by {}",
            self.count, self.what, self.function
        )?;
        if self.comm.is_empty() {
            return Ok(());
        }
        write!(f, " in {}/{}", self.comm, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_leaks_are_added_up() {
        let taker = Taker {
            function: "vmalloc",
            comm: "a".into(),
            pid: 1,
        };
        let page = |count| taker.leak("page".into(), count);
        let found = summed(vec![page(1), taker.leak("lock x".into(), 1), page(2)]);
        assert_eq!(found, [taker.leak("lock x".into(), 1), page(3)]);
        assert_eq!(found[1].to_string(), "3 page, taken by vmalloc in a/1");
    }

    #[test]
    fn locks_have_names() {
        assert_eq!(
            lock_name(Mm::INIT.page_table_lock()),
            "init_mm.page_table_lock"
        );
        let local = field(percpu(3), pcpu::LOCAL_LOCK);
        assert_eq!(lock_name(local), "local_lock of CPU 3");
        assert_eq!(lock_name(Ea::new(0x10)), "at 0x10");
    }
}
