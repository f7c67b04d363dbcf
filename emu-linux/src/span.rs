//! The longest spans with preemption or with interrupts off, and where in the kernel they were.
//!
//! Owns what is told of a span, as the preemptoff and irqsoff tracers tell it: where it began, and the call
//! chain at its end. Refuses to decide when one begins: that is preempt_count's and the EE bit's.

use crate::kernel::Linux;
use emu_core::{Ctx, Frame, OffSpan};
use serde::Serialize;
use std::sync::atomic::Ordering;

/// One span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Span {
    /// How long it was.
    pub cycles: u64,
    /// CPU.
    pub cpu: u16,
    /// That CPU's clock when it began.
    pub began: u64,
    /// Task at its end.
    pub comm: String,
    /// Its process id.
    pub pid: u32,
    /// Function in which it began, with the call in it that was the last to be named; empty where no function
    /// of the model is.
    pub began_in: String,
    /// Functions at its end, innermost first.
    pub chain: Vec<String>,
}

/// The longest of each kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LongestSpans {
    /// Preemption off, idle excluded.
    pub preempt_off: Option<Span>,
    /// External interrupts off, idle excluded.
    pub irqs_off: Option<Span>,
}

fn named(frame: &Frame) -> String {
    match frame.site {
        "" => frame.function.to_owned(),
        site => format!("{}: {site}", frame.function),
    }
}

impl Linux {
    /// Preemption goes on again on this CPU: a span ends.
    #[inline]
    pub(crate) fn note_preempt_on(&self, cx: &mut Ctx<'_>) {
        let longest = &self.counters.preempt_off_cycles_max;
        if let Some(span) = cx.end_span()
            && span.cycles.get() > longest.load(Ordering::Relaxed)
        {
            longest.fetch_max(span.cycles.get(), Ordering::Relaxed);
            self.keep_span(cx, span, |spans| &mut spans.preempt_off);
        }
    }

    /// Keeps a span that ends here, if it is the longest of its kind.
    #[cold]
    pub(crate) fn keep_span(
        &self,
        cx: &Ctx<'_>,
        span: OffSpan,
        kind: impl FnOnce(&mut LongestSpans) -> &mut Option<Span>,
    ) {
        let mut spans = self.spans.lock();
        let kept = kind(&mut spans);
        let cycles = span.cycles.get();
        if kept.as_ref().is_some_and(|kept| kept.cycles >= cycles) {
            return;
        }
        let (comm, pid) = self.comm_and_pid(cx);
        *kept = Some(Span {
            cycles,
            cpu: cx.cpu_id().0,
            began: span.began.get(),
            comm,
            pid,
            began_in: span.began_in.as_ref().map(named).unwrap_or_default(),
            chain: cx.frames().iter().rev().map(named).collect(),
        });
    }
}
