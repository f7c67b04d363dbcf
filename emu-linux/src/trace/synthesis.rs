//! Operations made up for captures that recorded neither allocations nor touches.
//!
//! Owns one substitution: the pages that `hpte_need_flush` names between a task's `vfree` and its
//! `free_vmap_area_noflush` were hashed, so the area is mapped, those pages are touched, and it is
//! unmapped, all at that point. When the kernel really did the first two is not known.

use super::areas::{GRANULE_BYTES, PAGE_WRITE};
use super::{Event, KERNEL_EA_START, Op, Record, TaskId, TraceOp};
use std::collections::HashMap;

/// A free under way.
#[derive(Debug)]
struct Freeing {
    line: u64,
    cpu: u16,
    addr: u64,
    touches: Vec<(u64, bool)>,
}

/// Gathers the frees under way.
#[derive(Debug)]
pub(crate) struct Synthesis {
    page_bytes: u64,
    freeing: HashMap<TaskId, Freeing>,
    pages: usize,
}

impl Synthesis {
    /// No free yet.
    pub fn new(page_bytes: u64) -> Synthesis {
        Synthesis {
            page_bytes,
            freeing: HashMap::new(),
            pages: 0,
        }
    }

    /// Pages and frees held.
    pub fn len(&self) -> usize {
        self.pages + self.freeing.len()
    }

    /// Appends what `record` completes to `ops`.
    pub fn record(&mut self, record: &Record, ops: &mut Vec<TraceOp>) {
        let (task, cpu, line) = (record.task, record.cpu, record.line);
        match record.event {
            Event::Vfree { addr } if !record.flags.in_interrupt() && is_area(addr) => {
                self.complete(task, None, ops);
                self.freeing.insert(
                    task,
                    Freeing {
                        line,
                        cpu,
                        addr,
                        touches: Vec::new(),
                    },
                );
            }
            Event::Need { addr, pte, .. } if addr >= KERNEL_EA_START => {
                if let Some(freeing) = self.freeing.get_mut(&task)
                    && addr >= freeing.addr
                {
                    freeing.touches.push((addr, pte & PAGE_WRITE != 0));
                    self.pages += 1;
                }
            }
            Event::Valazy { start, end } if self.frees(task, start) => {
                let end = Some(end).filter(|end| end.is_multiple_of(GRANULE_BYTES));
                self.complete(task, end, ops);
            }
            Event::FreeVmapAreaNoflush { va_start, .. } if self.frees(task, va_start) => {
                self.complete(task, None, ops);
            }
            _ => {}
        }
    }

    /// Appends the frees whose end was not recorded, in the order of their `vfree`.
    pub fn finish(&mut self, ops: &mut Vec<TraceOp>) {
        let mut tasks: Vec<(u64, TaskId)> = self
            .freeing
            .iter()
            .map(|(&task, freeing)| (freeing.line, task))
            .collect();
        tasks.sort_unstable();
        for (_, task) in tasks {
            self.complete(task, None, ops);
        }
    }

    fn frees(&self, task: TaskId, addr: u64) -> bool {
        self.freeing
            .get(&task)
            .is_some_and(|freeing| freeing.addr == addr)
    }

    fn complete(&mut self, task: TaskId, end: Option<u64>, ops: &mut Vec<TraceOp>) {
        let Some(Freeing {
            line,
            cpu,
            addr: start,
            touches,
        }) = self.freeing.remove(&task)
        else {
            return;
        };
        self.pages -= touches.len();
        let page = self.page_bytes;
        let last = touches.iter().map(|&(addr, _)| addr).max().unwrap_or(start);
        let mapped_end = (last - last % page).saturating_add(page);
        let end = end.unwrap_or(0).max(mapped_end.saturating_add(page));
        let size_bytes = (end - page).max(mapped_end) - start;
        let mut push = |op| {
            ops.push(TraceOp {
                line,
                task,
                cpu,
                op,
            })
        };
        push(Op::Map {
            start,
            end,
            size_bytes,
            requested: None,
        });
        for (addr, write) in touches {
            push(Op::Touch {
                addr,
                write,
                recorded_group: None,
                recorded_vpn: None,
            });
        }
        push(Op::Unmap { addr: start });
    }
}

/// Whether an area can start there.
fn is_area(addr: u64) -> bool {
    (KERNEL_EA_START..u64::MAX - (1 << 20)).contains(&addr) && addr.is_multiple_of(GRANULE_BYTES)
}
