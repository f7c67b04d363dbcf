//! How long operations of the kernel took, each kind in a histogram.
//!
//! Owns which operations are timed and what is told of each kind. A latency is what the caller sees: faults,
//! interrupts and other tasks in between are in it, and a nested operation is counted for itself too. Where a
//! task goes on on another CPU it is read from that one's clock, which may be some cycles off. Refuses runs
//! whose steps take no time.

use crate::kernel::Linux;
use crate::kernel_path::{FAULT, FLUSH, MAP, SEGMENT, UNMAP, USER};
use emu_core::{Ctx, Cycles, Job, Path, Run};
use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;
use std::collections::BTreeMap;

/// Digits that a histogram keeps of a value.
const DIGITS: u8 = 2;

macro_rules! operations {
    ($($variant:ident = $name:literal),* $(,)?) => {
        /// An operation that is timed; the kernel's function of that name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Operation { $($variant),* }

        impl Operation {
            const NAMES: [&str; [$($name),*].len()] = [$($name),*];
        }
    };
}

operations! {
    Vmalloc = "vmalloc",
    Vfree = "vfree",
    Vmap = "vmap",
    Vunmap = "vunmap",
    VmMapRam = "vm_map_ram",
    VmUnmapRam = "vm_unmap_ram",
    Ioremap = "ioremap",
    Iounmap = "iounmap",
    Munmap = "munmap",
    Mprotect = "mprotect",
    Fork = "fork",
    HashFault = "hash_fault",
    SlbMiss = "slb_miss",
    Flush = "flush_tlb_pending",
    Tlbie = "tlbie",
}

impl Operation {
    /// The kernel path that it is on.
    const fn job(self) -> Job {
        match self {
            Operation::Vmalloc | Operation::Vmap | Operation::VmMapRam | Operation::Ioremap => MAP,
            Operation::Vfree | Operation::Vunmap | Operation::VmUnmapRam | Operation::Iounmap => {
                UNMAP
            }
            Operation::Munmap | Operation::Mprotect | Operation::Fork => USER,
            Operation::HashFault => FAULT,
            Operation::SlbMiss => SEGMENT,
            Operation::Flush | Operation::Tlbie => FLUSH,
        }
    }

    /// The name in reports.
    pub(crate) const fn name(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// The latencies of one kind, in cycles. All but the least, the greatest and the number are exact to one in a
/// hundred.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Latency {
    /// Operations.
    pub count: u64,
    /// The shortest.
    pub min: u64,
    /// Half took no longer.
    pub p50: u64,
    /// Nine of ten took no longer.
    pub p90: u64,
    /// 99 of a hundred took no longer.
    pub p99: u64,
    /// 999 of a thousand took no longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
    /// Their mean.
    pub mean: f64,
    /// The histogram: upper ends of its buckets, and operations in each.
    pub buckets: Vec<(u64, u64)>,
}

impl Eq for Latency {}

struct Kept {
    histogram: Histogram<u64>,
    min: u64,
    max: u64,
}

/// The histograms of a run.
pub(crate) struct Latencies([Mutex<Option<Kept>>; Operation::NAMES.len()]);

impl Latencies {
    /// Empty ones.
    pub fn new() -> Self {
        Latencies(std::array::from_fn(|_| Mutex::new(None)))
    }

    /// Forgets what was recorded.
    pub fn reset(&self) {
        self.0.iter().for_each(|kept| *kept.lock() = None);
    }

    fn record(&self, operation: Operation, cycles: u64) {
        let mut kept = self.0[operation as usize].lock();
        if kept.is_none() {
            // It grows with its values; refused are only other numbers of digits.
            *kept = Histogram::new(DIGITS).ok().map(|histogram| Kept {
                histogram,
                min: u64::MAX,
                max: 0,
            });
        }
        if let Some(kept) = &mut *kept {
            // It grows; beyond what it can grow to, the greatest bucket takes it.
            if kept.histogram.record(cycles).is_err() {
                kept.histogram.saturating_record(cycles);
            }
            kept.min = kept.min.min(cycles);
            kept.max = kept.max.max(cycles);
        }
    }

    /// What was recorded, by the operation's name.
    pub fn values(&self) -> BTreeMap<String, Latency> {
        let kinds = Operation::NAMES.iter().zip(&self.0);
        kinds
            .filter_map(|(name, kept)| Some(((*name).to_owned(), kept.lock().as_ref()?.told())))
            .collect()
    }
}

impl Kept {
    fn told(&self) -> Latency {
        let histogram = &self.histogram;
        let at = |quantile| histogram.value_at_quantile(quantile).min(self.max);
        Latency {
            count: histogram.len(),
            min: self.min,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: self.max,
            mean: histogram.mean(),
            buckets: histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_since_last_iteration()))
                .collect(),
        }
    }
}

impl Linux {
    /// Does an operation and keeps how long it took.
    #[inline]
    pub(crate) fn timed<T>(
        &self,
        cx: &mut Ctx<'_>,
        operation: Operation,
        body: impl FnOnce(&mut Ctx<'_>) -> Run<T>,
    ) -> Run<T> {
        let began = cx.now();
        let done = cx.in_job(operation.job(), body)?;
        self.record(cx, operation, began);
        Ok(done)
    }

    /// The same on a path.
    #[inline]
    pub(crate) fn timed_on<T>(
        &self,
        cx: &mut Ctx<'_>,
        (operation, path): (Operation, Path),
        body: impl FnOnce(&mut Ctx<'_>) -> Run<T>,
    ) -> Run<T> {
        let began = cx.now();
        let done = cx.in_job_and_path(operation.job(), path, body)?;
        self.record(cx, operation, began);
        Ok(done)
    }

    #[inline]
    fn record(&self, cx: &Ctx<'_>, operation: Operation, began: Cycles) {
        if let Some(latencies) = &self.latencies {
            latencies.record(operation, cx.now().saturating_sub(began).get());
        }
        if self.timeline.is_some() {
            self.draw_operation(cx, operation, began);
        }
    }

    /// The same of a function that stands on the stack.
    #[inline]
    pub(crate) fn timed_call<T>(
        &self,
        cx: &mut Ctx<'_>,
        operation: Operation,
        function: &'static str,
        body: impl FnOnce(&mut Ctx<'_>) -> Run<T>,
    ) -> Run<T> {
        self.timed(cx, operation, |cx| cx.call(function, body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_lie_between_the_least_and_the_greatest() {
        let latencies = Latencies::new();
        for cycles in 1..=1000 {
            latencies.record(Operation::Vmalloc, cycles * 100);
        }
        let values = latencies.values();
        assert_eq!(values.len(), 1);
        let told = &values["vmalloc"];
        assert_eq!((told.count, told.min, told.max), (1000, 100, 100_000));
        for (found, exact) in [(told.p50, 50_000), (told.p90, 90_000), (told.p99, 99_000)] {
            assert!(found.abs_diff(exact) * 100 <= exact, "{found} for {exact}");
        }
        assert_eq!(
            told.buckets.iter().map(|bucket| bucket.1).sum::<u64>(),
            1000
        );
        latencies.reset();
        assert!(latencies.values().is_empty());
    }
}
