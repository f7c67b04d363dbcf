//! The shipped policies, one file each, and their list.

mod apply_ptl;
mod hugh_preempt;
mod hugh_preempt_fixed;
mod mainline_6_1;
mod mainline_6_16_fixed;
mod mmotm;
mod no_kernel_batch;
mod no_power_batch;
mod preemptible_guard;

pub use apply_ptl::ApplyPtl;
pub use hugh_preempt::HughPreempt;
pub use hugh_preempt_fixed::HughPreemptFixed;
pub use mainline_6_1::Mainline61;
pub use mainline_6_16_fixed::Mainline616Fixed;
pub use mmotm::Mmotm;
pub use no_kernel_batch::NoKernelBatch;
pub use no_power_batch::NoPowerBatch;
pub use preemptible_guard::PreemptibleGuard;

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

/// All shipped policies: first the state that broke, then the remedies by age.
const SHIPPED: &[Make] = &[
    || Box::new(Mmotm),
    || Box::new(NoKernelBatch),
    || Box::new(HughPreempt),
    || Box::new(HughPreemptFixed),
    || Box::new(ApplyPtl),
    || Box::new(NoPowerBatch),
    || Box::new(PreemptibleGuard),
    || Box::new(Mainline61),
    || Box::new(Mainline616Fixed),
];

/// Name, origin and description of every shipped policy.
pub fn policies() -> Vec<PolicyInfo> {
    SHIPPED
        .iter()
        .map(|make| {
            let policy = make();
            PolicyInfo {
                name: policy.name(),
                origin: policy.origin(),
                about: policy.about(),
            }
        })
        .collect()
}

/// The shipped policy of that name.
pub fn policy(name: &str) -> Option<Box<dyn LazyMmuPolicy>> {
    SHIPPED
        .iter()
        .map(|make| make())
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
