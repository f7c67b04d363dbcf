//! The shipped policies, one file each, and their list.

mod apply_ptl;
mod hugh_preempt;
mod hugh_preempt_fixed;
mod kernel_ptl;
mod mainline_6_1;
mod mainline_6_16;
mod mainline_6_16_fixed;
mod mainline_7_0;
mod mm_argument;
mod mmotm;
mod no_kernel_batch;
mod no_power_batch;
mod no_power_batch_naive;
mod preemptible_guard;
mod rt;
mod switch_flush;
mod switch_flush_sound;

pub use apply_ptl::ApplyPtl;
pub use hugh_preempt::HughPreempt;
pub use hugh_preempt_fixed::HughPreemptFixed;
pub use kernel_ptl::KernelPtl;
pub use mainline_6_1::Mainline61;
pub use mainline_6_16::Mainline616;
pub use mainline_6_16_fixed::Mainline616Fixed;
pub use mainline_7_0::Mainline70;
pub use mm_argument::MmArgument;
pub use mmotm::Mmotm;
pub use no_kernel_batch::NoKernelBatch;
pub use no_power_batch::NoPowerBatch;
pub use no_power_batch_naive::NoPowerBatchNaive;
pub use preemptible_guard::PreemptibleGuard;
pub use rt::Rt;
pub use switch_flush::SwitchFlush;
pub use switch_flush_sound::SwitchFlushSound;

use super::LazyMmuPolicy;

/// A shipped policy's name, origin and description.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct PolicyInfo {
    /// Name, as typed after `--policy`.
    pub name: &'static str,
    /// The mail or commit that it models.
    pub origin: &'static str,
    /// What it does.
    pub about: &'static str,
}

type Make = fn() -> Box<dyn LazyMmuPolicy>;

macro_rules! shipped {
    ($($policy:ident),* $(,)?) => {
        /// All shipped policies: first the state that broke, then the remedies in the order of the
        /// options of 2011, then what was merged, by age.
        const SHIPPED: &[(&dyn LazyMmuPolicy, Make)] =
            &[$((&$policy, || Box::new($policy))),*];
    };
}

shipped! {
    Mmotm,
    NoKernelBatch,
    HughPreempt,
    HughPreemptFixed,
    KernelPtl,
    ApplyPtl,
    SwitchFlush,
    SwitchFlushSound,
    Rt,
    NoPowerBatch,
    NoPowerBatchNaive,
    PreemptibleGuard,
    MmArgument,
    Mainline61,
    Mainline616,
    Mainline616Fixed,
    Mainline70,
}

/// Name, origin and description of every shipped policy.
pub fn policies() -> Vec<PolicyInfo> {
    SHIPPED
        .iter()
        .map(|(policy, _)| PolicyInfo {
            name: policy.name(),
            origin: policy.origin(),
            about: policy.about(),
        })
        .collect()
}

/// The shipped policy of that name.
pub fn policy(name: &str) -> Option<Box<dyn LazyMmuPolicy>> {
    SHIPPED
        .iter()
        .find(|(policy, _)| policy.name() == name)
        .map(|(_, make)| make())
}

/// The shipped policy of that name, by reference: they have no state of their own.
pub(crate) fn shipped(name: &str) -> Option<&'static dyn LazyMmuPolicy> {
    SHIPPED
        .iter()
        .map(|(policy, _)| *policy)
        .find(|policy| policy.name() == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        let all = policies();
        for info in &all {
            assert_eq!(
                all.iter().filter(|other| other.name == info.name).count(),
                1
            );
            assert!(policy(info.name).is_some());
            assert!(!info.origin.is_empty() && info.about.len() > 40);
        }
        assert!(policy("none").is_none());
    }
}
