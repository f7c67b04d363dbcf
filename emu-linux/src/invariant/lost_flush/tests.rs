use super::*;
use emu_core::{CpuId, Cycles};
use emu_mmu::SegmentSize;
use emu_mmu::SegmentSize::{S1T, S256M};

const A: u64 = 0xa000;
const B: u64 = 0xb000;

/// A rule, a clock, and the messages so far.
struct Run {
    rule: LostFlush,
    now: u64,
    lost: Vec<String>,
}

impl Run {
    fn new() -> Self {
        Run {
            rule: LostFlush::default(),
            now: 0,
            lost: Vec::new(),
        }
    }

    fn tp(&mut self, task: u64, tp: Tracepoint) -> &mut Self {
        self.now += 1;
        let at = Moment {
            cpu: CpuId(0),
            now: Cycles::new(self.now),
            task,
            pid: task as u32 >> 12,
        };
        let lost = &mut self.lost;
        self.rule
            .tracepoint(at, &tp, &mut |l| lost.push(l.to_string()));
        self
    }

    fn enter(&mut self, task: u64) -> &mut Self {
        self.tp(task, Tracepoint::LazyEnter)
    }

    fn leave(&mut self, task: u64) -> &mut Self {
        self.tp(task, Tracepoint::LazyLeave)
    }

    /// Page `n` has PTE 8n and frame n << 12.
    fn queue(&mut self, task: u64, n: u64) -> &mut Self {
        self.queue_of(task, n, S256M, n << 12)
    }

    fn queue_of(&mut self, task: u64, n: u64, segment: SegmentSize, frame: u64) -> &mut Self {
        let (vpn, size, slot, pte) = (Vpn::new(n), PageSize::P4K, 3, n * 8);
        let queued = Tracepoint::Queued {
            vpn,
            segment,
            size,
            slot,
            pte,
            frame,
        };
        self.tp(task, queued)
    }

    fn batch(&mut self, task: u64, entries: u64) -> &mut Self {
        self.tp(
            task,
            Tracepoint::BatchFlush {
                entries,
                pieces: entries,
                batch_cpu: 0,
            },
        )
    }

    fn free(&mut self, task: u64, n: u64) -> &mut Self {
        self.tp(task, Tracepoint::PageFreed { frame: n << 12 })
    }

    fn set(&mut self, task: u64, n: u64) -> &mut Self {
        self.tp(
            task,
            Tracepoint::PteSet {
                pte: n * 8,
                frame: 0x77_7000,
            },
        )
    }

    fn tlbie(&mut self, task: u64, n: u64) -> &mut Self {
        self.tlbie_of(task, n, S256M, PageSize::P4K)
    }

    fn tlbie_of(&mut self, task: u64, n: u64, segment: SegmentSize, page: PageSize) -> &mut Self {
        let vpn = Vpn::new(n);
        let operand = TlbInvalidate {
            vpn,
            segment,
            base: page,
            actual: page,
            local: false,
        };
        self.rule.invalidate(task, &operand);
        self
    }

    fn end(&mut self) -> &mut Self {
        let lost = &mut self.lost;
        self.rule.end_of_run(&mut |l| lost.push(l.to_string()));
        self
    }

    /// Nothing broke and nothing is left.
    fn assert_clean(&mut self) {
        self.end();
        assert_eq!(self.lost, [""; 0]);
        assert_eq!(self.rule.queued(), self.rule.flushed());
        assert!(self.rule.tasks.is_empty());
    }

    fn assert_lost(&mut self, expected: &[&str]) {
        assert_eq!(self.lost, expected);
    }
}

#[test]
fn a_section_that_flushes_all_is_clean() {
    let mut run = Run::new();
    run.enter(A)
        .queue(A, 1)
        .queue(A, 2)
        .batch(A, 2)
        .tlbie(A, 1)
        .tlbie(A, 2)
        .leave(A);
    run.free(A, 1).free(A, 2).set(A, 1).assert_clean();
    assert_eq!(run.rule.repeated(), 0);
}

#[test]
fn fires_when_the_section_ends_with_an_entry_pending() {
    let mut run = Run::new();
    run.enter(A)
        .queue(A, 1)
        .queue(A, 2)
        .batch(A, 2)
        .tlbie(A, 2)
        .leave(A)
        .free(A, 1)
        .set(A, 1);
    run.end().assert_lost(&[
        "vpn 0x1 (256M, slot 3), queued by pid 10 on cpu 0 at cycle 2, was not flushed before its lazy section ended",
    ]);
    assert_eq!((run.rule.queued(), run.rule.flushed()), (2, 1));
}

#[test]
fn a_batch_flush_that_names_other_pages_is_no_evidence() {
    // The whole batch is looked up again on another CPU: 2 flushes promised, 2 issued, for junk.
    let mut run = Run::new();
    run.enter(A)
        .queue(A, 1)
        .queue(A, 2)
        .batch(A, 2)
        .tlbie(A, 901)
        .tlbie(A, 902)
        .leave(A);
    assert_eq!(run.lost.len(), 2);
    assert_eq!(run.rule.flushed(), 0);
}

#[test]
fn the_flush_may_be_anybodys() {
    let mut run = Run::new();
    run.enter(A)
        .queue(A, 1)
        .enter(B)
        .batch(B, 1)
        .tlbie(B, 1)
        .leave(B)
        .leave(A)
        .assert_clean();
}

#[test]
fn a_leave_judges_only_the_leaving_task() {
    let mut run = Run::new();
    run.enter(A).queue(A, 1).enter(B).leave(B);
    run.assert_lost(&[]);
    run.tlbie(B, 1).leave(A).assert_clean();
}

#[test]
fn an_inner_leave_does_not_end_the_section() {
    let mut run = Run::new();
    run.enter(A)
        .enter(A)
        .queue(A, 1)
        .leave(A)
        .tlbie(A, 1)
        .leave(A)
        .assert_clean();
    run.enter(A).enter(A).queue(A, 2).leave(A).leave(A);
    assert_eq!(run.lost.len(), 1);
}

#[test]
fn a_leave_without_a_section_is_no_event() {
    Run::new()
        .leave(A)
        .enter(A)
        .queue(A, 1)
        .tlbie(A, 1)
        .leave(A)
        .leave(A)
        .assert_clean();
}

#[test]
fn evidence_must_come_after_the_queueing() {
    let mut run = Run::new();
    run.tlbie(A, 1).enter(A).queue(A, 1).leave(A);
    assert_eq!(run.lost.len(), 1);
}

#[test]
fn evidence_must_cover_the_page_in_a_segment_of_the_same_size() {
    let mut run = Run::new();
    run.enter(A).queue(A, 0x1234);
    run.tlbie_of(A, 0x1234, S1T, PageSize::P4K);
    run.tlbie(A, 0x1235);
    run.tlbie_of(A, 0x1240, S256M, PageSize::P64K);
    run.leave(A);
    assert_eq!(run.lost.len(), 1);

    let mut run = Run::new();
    run.enter(A).queue(A, 0x1234).queue(A, 0x2000);
    run.tlbie_of(A, 0x1230, S256M, PageSize::P64K)
        .tlbie_of(A, 0x2000, S256M, PageSize::P16M);
    run.leave(A).assert_clean();
}

#[test]
fn a_large_operand_finds_its_pages_among_many_pending() {
    let mut run = Run::new();
    run.enter(A);
    for n in 0..40 {
        run.queue(A, n);
    }
    run.tlbie_of(A, 16, S256M, PageSize::P64K); // 16 pages, fewer than pend
    assert_eq!(run.rule.flushed(), 16);
    run.tlbie_of(A, 0, S256M, PageSize::P16M);
    run.leave(A).assert_clean();
}

#[test]
fn fires_when_the_frame_is_freed_or_the_pte_is_set() {
    // B has no section: another task's batch was active on its CPU.
    let mut run = Run::new();
    run.queue(B, 1)
        .free(A, 1)
        .queue(B, 2)
        .set(B, 2)
        .set(B, 2)
        .free(B, 2);
    run.end().assert_lost(&[
        "vpn 0x1 (256M, slot 3), queued by pid 11 on cpu 0 at cycle 1, was not flushed before its frame 0x1000 was freed",
        "vpn 0x2 (256M, slot 3), queued by pid 11 on cpu 0 at cycle 3, was not flushed before its PTE 0x10 was set again",
    ]);
}

#[test]
fn another_frame_and_another_pte_are_no_deadline() {
    let mut run = Run::new();
    run.queue(B, 1)
        .free(B, 2)
        .set(B, 3)
        .tlbie(A, 1)
        .free(B, 1)
        .set(B, 1)
        .assert_clean();
}

#[test]
fn an_entry_queued_outside_a_section_is_not_due_at_a_later_leave() {
    let mut run = Run::new();
    run.queue(B, 1).enter(B).leave(B);
    run.assert_lost(&[]);
    run.tlbie(A, 1).assert_clean();
}

#[test]
fn many_entries_pend_for_one_frame() {
    let mut run = Run::new();
    for n in 1..=3 {
        run.queue_of(B, n, S1T, 0x5000);
    }
    run.tlbie_of(B, 2, S1T, PageSize::P4K);
    run.tp(B, Tracepoint::PageFreed { frame: 0x5000 });
    assert_eq!(run.lost.len(), 2);
    assert!(run.lost[0].starts_with("vpn 0x1 (1T") && run.lost[1].starts_with("vpn 0x3 (1T"));
    assert_eq!(run.rule.pending.len(), 0);
}

#[test]
fn a_page_queued_again_while_it_pends_is_one_entry() {
    let mut run = Run::new();
    run.enter(A).queue(A, 1).queue(A, 1);
    assert_eq!(run.rule.pending.len(), 1);
    run.tlbie(A, 1).leave(A).assert_clean();
    assert_eq!(run.rule.queued(), 2);

    let mut run = Run::new();
    run.enter(A).queue(A, 1).queue(A, 1).leave(A);
    assert_eq!(run.lost.len(), 1);
}

#[test]
fn an_exit_ends_the_section() {
    let mut run = Run::new();
    run.enter(A)
        .queue(A, 1)
        .tp(A, Tracepoint::TaskExit { preempt_count: 0 });
    assert_eq!(run.lost.len(), 1);
    assert!(run.lost[0].ends_with("before its task exited inside its lazy section"));
    run.queue(A, 2); // the address names a new task, which is in no section
    run.leave(A).tlbie(A, 2);
    assert_eq!(run.lost.len(), 1);
}

#[test]
fn fires_for_what_still_pends_at_the_end() {
    let mut run = Run::new();
    run.queue(B, 2).queue(B, 1).queue(B, 3).tlbie(B, 2).end();
    assert_eq!(run.lost.len(), 2);
    assert!(run.lost[0].starts_with("vpn 0x1 ") && run.lost[0].ends_with("before the run ended"));
    run.end();
    assert_eq!(run.lost.len(), 2);
}

#[test]
fn a_repeat_is_counted_within_a_batch_only() {
    let mut run = Run::new();
    run.enter(A).queue(A, 1).batch(A, 1).tlbie(A, 1).leave(A);
    run.tlbie(A, 1); // a single flush of a page that was set again
    assert_eq!(run.rule.repeated(), 0);
    run.batch(A, 2).tlbie(A, 1).tlbie(A, 999).tlbie(A, 1); // 999 never was queued; the third is no part
    assert_eq!(run.rule.repeated(), 1);
    run.enter(A).queue(A, 1).batch(A, 1).tlbie(A, 1).leave(A); // queued again: a first flush
    assert_eq!(run.rule.repeated(), 1);
    run.assert_clean();
}

#[test]
fn a_dropped_entry_flushed_late_is_no_repeat() {
    let mut run = Run::new();
    run.enter(A).queue(A, 1).leave(A).batch(B, 1).tlbie(B, 1);
    assert_eq!(
        (run.lost.len(), run.rule.repeated(), run.rule.flushed()),
        (1, 0, 0)
    );
}

#[test]
fn memory_is_that_of_what_pends() {
    let mut run = Run::new();
    for n in 0..50_000 {
        let task = A + (n % 1000) * 0x1000;
        run.enter(task).queue(task, n).batch(task, 1);
        if n % 2 == 0 {
            run.tlbie(task, n);
        }
        run.leave(task)
            .tp(task, Tracepoint::TaskExit { preempt_count: 0 });
    }
    assert_eq!(run.lost.len(), 25_000);
    assert!(run.rule.tasks.is_empty());
    assert!(run.rule.pending.ids() <= 2);
}

#[test]
fn a_hypervisor_that_has_no_hpte_for_the_page_leaves_nothing_to_flush() {
    let answer = |n, size| Tracepoint::NothingToRemove {
        vpn: Vpn::new(n),
        segment: S256M,
        size,
    };
    let mut run = Run::new();
    run.queue(A, 1).queue(A, 2);
    run.tp(A, answer(1, PageSize::P4K));
    run.free(A, 1);
    assert_eq!(run.lost.len(), 0);
    // Its neighbour is another page.
    run.free(A, 2);
    assert_eq!(run.lost.len(), 1);
}
