//! The rule against a plain list that is searched in full: the chains must agree with it.

use super::*;
use emu_core::{CpuId, Cycles};
use emu_mmu::SegmentSize::S256M;

/// The rule and the list, given the same events.
#[derive(Default)]
struct Both {
    rule: LostFlush,
    list: Vec<Entry>,
    lost: Vec<(Cycles, Before)>,
    expected: Vec<(Cycles, Before)>,
}

impl Both {
    fn tell(&mut self, at: Moment, tp: Tracepoint) {
        let lost = &mut self.lost;
        self.rule
            .tracepoint(at, &tp, &mut |l| lost.push((l.entry.at, l.before)));
    }

    fn queue(&mut self, moment: Moment, vpn: Vpn, pte: u64, frame: u64) {
        let (segment, slot) = (S256M, 0);
        self.tell(
            moment,
            Tracepoint::Queued {
                vpn,
                segment,
                size: PageSize::P4K,
                slot,
                pte,
                frame,
            },
        );
        let Moment {
            task,
            pid,
            cpu,
            now: at,
        } = moment;
        let (in_section, times) = (false, 1);
        let entry = Entry {
            vpn,
            segment,
            size: PageSize::P4K,
            slot,
            pte,
            frame,
            task,
            pid,
            cpu,
            at,
            in_section,
            times,
        };
        match self.list.iter_mut().find(|known| known.is_same(&entry)) {
            Some(known) => *known = entry,
            None => self.list.push(entry),
        }
    }

    fn invalidate(&mut self, task: u64, vpn: Vpn, actual: PageSize) {
        let vpn = vpn.align_down(actual);
        let operand = TlbInvalidate {
            vpn,
            segment: S256M,
            base: actual,
            actual,
            local: true,
        };
        self.rule.invalidate(task, &operand);
        let pages = vpn.get()..vpn.get() + (actual.bytes() >> 12);
        self.list.retain(|entry| !pages.contains(&entry.vpn.get()));
    }

    fn deadline(&mut self, moment: Moment, tp: Tracepoint) {
        self.tell(moment, tp);
        let expected = &mut self.expected;
        self.list.retain(|entry| {
            let (due, before) = match tp {
                Tracepoint::PageFreed { frame } => (entry.frame == frame, Before::PageFreed),
                Tracepoint::PteSet { pte, .. } => (entry.pte == pte, Before::PteSet),
                _ => (false, Before::RunEnd),
            };
            if due {
                expected.push((entry.at, before));
            }
            !due
        });
    }
}

#[test]
fn chains_agree_with_a_plain_list() {
    // Pseudo-random traffic over few pages, frames, PTEs and tasks.
    let mut both = Both::default();
    let mut state = 1u64;
    let mut random = |n: u64| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 33) % n
    };
    for now in 0..100_000 {
        let task = random(3);
        let moment = Moment {
            cpu: CpuId(0),
            now: Cycles::new(now),
            task,
            pid: 0,
        };
        match random(8) {
            0..4 => both.queue(moment, Vpn::new(random(40)), random(12), random(12)),
            4 => both.invalidate(task, Vpn::new(random(40)), PageSize::P4K),
            5 if random(4) == 0 => both.invalidate(task, Vpn::new(random(40)), PageSize::P64K),
            5 => {}
            6 => both.deadline(moment, Tracepoint::PageFreed { frame: random(12) }),
            _ => both.deadline(
                moment,
                Tracepoint::PteSet {
                    pte: random(12),
                    frame: 0,
                },
            ),
        }
        assert_eq!(both.rule.pending.len(), both.list.len());
    }
    assert!(both.expected.len() > 1000);
    assert_eq!(both.lost, both.expected);
}
