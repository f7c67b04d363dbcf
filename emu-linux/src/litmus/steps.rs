//! How each step is made.
//!
//! Owns the order of the verbs within a step; operations on the table are `emu-mmu`'s own. Refuses to
//! repair: a step that is wrong where it stands is made.

use super::guest::Shared;
use super::hash_page::hash_page;
use super::place::{
    BATCH_MAX, BITS, FAULT, LAYOUT, NO_SLOT, OfTask, batch, batch_active, batch_at, batch_index,
    batch_page, batch_pte, ea, frame_ra, group, operand, pattern, pte, slot, table,
};
use super::test::{Base, Operand, Slot, Step, Value};
use super::tracked::Tracked;
use super::words::Word;
use emu_core::{Ctx, Exception, Run};
use emu_mmu::{
    Barrier, CompareOrder, HpteIndex, HpteR, Ra, TableAccess, tlbie_sequence, tlbiel_sequence,
};

/// As 2.6.38 does it.
const ORDER: CompareOrder = match LAYOUT.compare_before_lock {
    true => CompareOrder::BeforeLock,
    false => CompareOrder::UnderLock,
};

/// Makes a step, and keeps its result.
pub(super) fn perform(shared: &Shared, cx: &mut Ctx<'_>, task: usize, step: &Step) -> Run<()> {
    let mut on = Tracked::new(cx, task);
    let wanted = match step.guard {
        Some((register, on_set)) => (on.own(OfTask::Register(register))? != 0) == on_set,
        None => true,
    };
    if wanted {
        let making = Making { shared, step };
        let result = making.make(&mut on)?;
        if let Some(to) = step.to {
            on.set_own(OfTask::Register(to), result)?;
        }
    }
    on.set_own(OfTask::Done, on.own(OfTask::Done)? + 1)?;
    on.set_own(OfTask::Seen, 0)?;
    on.set_own(OfTask::WaitsFor, 0)
}

/// One step that is made.
struct Making<'s> {
    shared: &'s Shared,
    step: &'s Step,
}

impl Making<'_> {
    /// The page that the step names first, or after a register.
    fn page(&self) -> usize {
        let page = self.step.operands.iter().find_map(|operand| match operand {
            Operand::Page(page) => Some(*page),
            _ => None,
        });
        page.unwrap_or(0)
    }

    fn value_at(&self, on: &Tracked<'_, '_>, number: usize) -> Run<u64> {
        match self.step.operands.get(number) {
            Some(Operand::Value(value)) => evaluate(on, *value),
            _ => Ok(0),
        }
    }

    fn slot(&self, on: &Tracked<'_, '_>) -> Run<HpteIndex> {
        let hidx = match self.step.operands.get(1) {
            Some(Operand::Slot(Slot::Number(value))) => evaluate(on, *value)?,
            Some(Operand::Slot(Slot::OfPte(register))) => {
                BITS.hidx(on.own(OfTask::Register(*register))?)
            }
            _ => 0,
        };
        Ok(slot(self.page(), hidx & 15))
    }

    fn doubleword(&self) -> Ra {
        match self.step.operands.first() {
            Some(Operand::Word(at)) => Ra::new(*at),
            _ => pte(self.page()),
        }
    }

    fn make(&self, on: &mut Tracked<'_, '_>) -> Run<u64> {
        let label = "litmus";
        let at = self.doubleword();
        match self.step.word {
            Word::PteLoad | Word::Read => return on.load(at, label),
            Word::PteReserve | Word::Reserve => return on.reserve(at, label),
            Word::PteConditional | Word::Conditional => {
                let value = self.value_at(on, 1)?;
                return Ok(u64::from(on.conditional(at, value, label)?));
            }
            Word::PteStore | Word::Write => {
                let value = self.value_at(on, 1)?;
                on.store(at, value, label)?;
            }
            Word::PteUpdate => match self.step.operands.get(1) {
                Some(Operand::Value(change)) => return pte_update(on, at, *change),
                _ => return Ok(0),
            },
            Word::PteClear => {
                let all = Value {
                    clear: u64::MAX,
                    ..Value::constant(0)
                };
                return pte_update(on, at, all);
            }
            Word::Lock => loop {
                if on.load(at, label)? != 0 {
                    on.spin(label)?;
                } else if on.compare_exchange(at, 0, 1, label)? {
                    break;
                }
            },
            Word::Unlock => on.store(at, 0, label)?,
            Word::HashPage => {
                let store = self.value_at(on, 1)? != 0;
                return hash_page(on, self.page(), store);
            }
            _ => return self.table(on),
        }
        Ok(0)
    }

    /// The table and the TLBs.
    fn table(&self, on: &mut Tracked<'_, '_>) -> Run<u64> {
        let (page, table, label) = (self.page(), table(), "litmus");
        let barrier = match self.step.word {
            Word::Tlbsync => Barrier::Tlbsync,
            Word::Ptesync => Barrier::Ptesync,
            Word::Eieio => Barrier::Eieio,
            Word::Isync => Barrier::Isync,
            Word::Lwsync => Barrier::Lwsync,
            Word::HpteInsert => {
                let r = HpteR(self.value_at(on, 1)?);
                return insert(on, page, r);
            }
            Word::HpteRemove => {
                return Ok(u64::from(
                    table.remove(on, group(page, false), 0)?.is_some(),
                ));
            }
            Word::HpteUpdatepp => {
                let (index, pp) = (self.slot(on)?, self.value_at(on, 2)?);
                return Ok(u64::from(table.update_pp(
                    on,
                    index,
                    pattern(page),
                    pp,
                    ORDER,
                )?));
            }
            Word::HpteInvalidate => {
                let index = self.slot(on)?;
                return Ok(u64::from(table.invalidate(
                    on,
                    index,
                    pattern(page),
                    ORDER,
                )?));
            }
            Word::HpteLock => return Ok(table.lock_slot(on, self.slot(on)?)?.0),
            Word::HpteUnlock => {
                let index = self.slot(on)?;
                table.unlock_slot(on, index)?;
                return Ok(0);
            }
            Word::HpteLoadV => return on.load(table.hpte_ra(self.slot(on)?), label),
            Word::HpteLoadR => return on.load(table.hpte_ra(self.slot(on)?) + 8, label),
            Word::HpteStoreV | Word::HpteStoreR => {
                let second = u64::from(self.step.word == Word::HpteStoreR) * 8;
                let (at, value) = (
                    table.hpte_ra(self.slot(on)?) + second,
                    self.value_at(on, 2)?,
                );
                on.store(at, value, label)?;
                return Ok(0);
            }
            Word::Tlbie | Word::Tlbiel => {
                on.tlb_invalidate(operand(page, self.step.word == Word::Tlbiel), label)?;
                return Ok(0);
            }
            Word::Flush => {
                tlbie_sequence(on, &[operand(page, false)])?;
                return Ok(0);
            }
            Word::FlushLocal => {
                tlbiel_sequence(on, &[operand(page, true)])?;
                return Ok(0);
            }
            _ => return self.cpu(on),
        };
        on.barrier(barrier, label)?;
        Ok(0)
    }

    /// Accesses through a page, the CPU and the task.
    fn cpu(&self, on: &mut Tracked<'_, '_>) -> Run<u64> {
        let label = "litmus";
        match self.step.word {
            Word::Load => access(on, |cx| cx.load_u64(ea(self.page()), label)),
            Word::Store => {
                let value = self.value_at(on, 1)?;
                access(on, |cx| {
                    cx.store_u64(ea(self.page()), value, label).map(|()| 0)
                })
            }
            Word::ThisBatch => Ok(batch(on.cx.read_cpu_id(label)?.0).get()),
            Word::Cpu => Ok(u64::from(on.cx.read_cpu_id(label)?.0)),
            Word::IrqDisable => on.cx.set_interrupts(false).map(u64::from),
            Word::IrqEnable => on.cx.set_interrupts(true).map(u64::from),
            Word::PreemptDisable => {
                on.cx.retire(1)?;
                on.set_own(OfTask::PreemptCount, on.own(OfTask::PreemptCount)? + 1)?;
                Ok(0)
            }
            Word::PreemptEnable => {
                on.cx.retire(1)?;
                let count = on.own(OfTask::PreemptCount)?.wrapping_sub(1);
                on.set_own(OfTask::PreemptCount, count)?;
                Ok(0)
            }
            Word::Migrate => {
                on.cx.retire(1)?;
                let held = on.own(OfTask::PreemptCount)? != 0 || !on.cx.interrupts_enabled();
                let to = match self.step.operands.first() {
                    Some(Operand::Cpu(to)) if !held && *to != on.cx.cpu_id().0 => *to,
                    _ => return Ok(0),
                };
                let enabled = on.cx.interrupts_enabled();
                on.note(6)?;
                on.cx.set_local(0);
                on.cx.set_interrupts(false)?;
                self.shared.move_to(on.cx, on.task, to)?;
                on.cx.set_interrupts(enabled)?;
                on.cx.set_local(on.task as u64 + 1);
                Ok(0)
            }
            Word::Free => {
                on.cx.retire(1)?;
                if let Some(Operand::Frame(frame)) = self.step.operands.first() {
                    let number = super::place::frame_number(frame_ra(*frame));
                    self.shared.watch.lock().freed |= 1 << number;
                }
                Ok(0)
            }
            _ => self.batch(on),
        }
    }

    /// The batch.
    fn batch(&self, on: &mut Tracked<'_, '_>) -> Run<u64> {
        let label = "litmus";
        let at = batch_of(self.value_at(on, 0)?)?;
        match self.step.word {
            Word::BatchActive => on.load(batch_active(at), label),
            Word::BatchIndex => on.load(batch_index(at), label),
            Word::BatchActivate => {
                let value = self.value_at(on, 1)?;
                on.store(batch_active(at), value, label)?;
                Ok(0)
            }
            Word::BatchAdd => {
                let index = on.load(batch_index(at), label)?;
                if index >= BATCH_MAX {
                    return Err(Exception::Corrupt("the batch is full"));
                }
                let pte = self.value_at(on, 2)?;
                on.store(batch_page(at, index), self.page() as u64, label)?;
                on.store(batch_pte(at, index), pte, label)?;
                on.store(batch_index(at), index + 1, label)?;
                Ok(0)
            }
            _ => {
                let from = batch_of(self.value_at(on, 1)?)?;
                flush_pending(on, at, from)?;
                Ok(0)
            }
        }
    }
}

fn batch_of(address: u64) -> Run<Ra> {
    batch_at(address).ok_or(Exception::Corrupt("the register names no batch"))
}

fn evaluate(on: &Tracked<'_, '_>, value: Value) -> Run<u64> {
    let base = match value.base {
        Base::Constant(constant) => constant,
        Base::Register(register) => on.own(OfTask::Register(register))?,
    };
    Ok((base & !value.clear) | value.set)
}

/// pte_update() of Linux 2.6.38 asm/pgtable-ppc64.h: waits while BUSY; gives what was there.
fn pte_update(on: &mut Tracked<'_, '_>, at: Ra, change: Value) -> Run<u64> {
    loop {
        let old = on.reserve(at, "pte_update: ldarx")?;
        if old & BITS.busy != 0 {
            on.spin("pte_update: spin")?;
            continue;
        }
        let new = (old & !change.clear) | change.set;
        if on.conditional(at, new, "pte_update: stdcx.")? {
            return Ok(old);
        }
    }
}

/// The two insertions of Linux 2.6.38 arch/powerpc/mm/hash_low_64.S: the primary group, then the secondary.
pub(super) fn insert(on: &mut Tracked<'_, '_>, page: usize, r: HpteR) -> Run<u64> {
    for secondary in [false, true] {
        let group = group(page, secondary);
        let slot = table().insert(on, group, pattern(page), r, secondary)?;
        if let Some(slot) = slot {
            return Ok(u64::from(slot) | u64::from(secondary) << 3);
        }
    }
    Ok(NO_SLOT)
}

/// updatepp with its tlbie, as a hash fault calls it.
pub(super) fn update_and_flush(
    on: &mut Tracked<'_, '_>,
    page: usize,
    hidx: u64,
    flags: u64,
) -> Run<bool> {
    let hit = table().update_pp(on, slot(page, hidx), pattern(page), flags, ORDER)?;
    tlbie_sequence(on, &[operand(page, false)])?;
    Ok(hit)
}

/// __flush_tlb_pending() of Linux 2.6.38 arch/powerpc/mm/tlb_hash64.c: how many, from `counted`; which, from
/// `from`, as native_flush_hash_range() looks them up again.
fn flush_pending(on: &mut Tracked<'_, '_>, counted: Ra, from: Ra) -> Run<()> {
    let label = "flush_hash_range";
    let number = on.load(batch_index(counted), label)?.min(BATCH_MAX);
    let mut operands = Vec::new();
    for entry in 0..number {
        let page = on.load(batch_page(from, entry), label)? as usize;
        let pte = on.load(batch_pte(from, entry), label)?;
        if pte & BITS.hashpte != 0 {
            let index = slot(page, BITS.hidx(pte));
            table().invalidate(on, index, pattern(page), ORDER)?;
            operands.push(operand(page, false));
        }
    }
    if !operands.is_empty() {
        tlbie_sequence(on, &operands)?;
    }
    on.store(batch_index(counted), 0, label)
}

/// An access through a page. A fault ends it.
fn access(on: &mut Tracked<'_, '_>, verb: impl FnOnce(&mut Ctx<'_>) -> Run<u64>) -> Run<u64> {
    let enabled = on.cx.interrupts_enabled();
    match verb(on.cx) {
        Err(Exception::Fault(_)) => {
            on.note(FAULT)?;
            on.cx.set_interrupts(enabled)?;
            Ok(FAULT)
        }
        result => result,
    }
}
