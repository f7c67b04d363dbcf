//! The examples run and find what they say.

#[path = "../../examples/batch_vs_unbatched.rs"]
mod batch_vs_unbatched;
#[path = "../../examples/custom_policy.rs"]
mod custom_policy;
#[path = "../../examples/embed_mmu.rs"]
mod embed_mmu;
#[path = "../../examples/vmalloc_workload.rs"]
mod vmalloc_workload;

#[test]
fn a_workload_under_three_policies() {
    let rows = vmalloc_workload::run().expect("runs");
    let names: Vec<&str> = rows.iter().map(|row| row.policy.as_str()).collect();
    assert_eq!(
        names,
        ["mainline-6.1", "mainline-6.16-fixed", "no-power-batch"]
    );
    assert!(
        rows.iter()
            .all(|row| row.tlbie == row.pages && row.cycles_per_page > 0.0)
    );
    assert!(rows[1].cycles_per_page < rows[0].cycles_per_page);
    assert!(rows[1].batches > 0 && rows[0].batches == 0 && rows[2].batches == 0);
}

#[test]
fn an_mmu_of_ones_own() {
    embed_mmu::run().expect("runs");
}

#[test]
fn a_policy_of_ones_own() {
    let rows = custom_policy::run().expect("runs");
    let [mmotm, own, mainline] = &rows[..] else {
        panic!("{rows:?}");
    };
    assert_eq!(own.policy, "flush-at-switch");
    assert!(mmotm.lost_flushes > 0 && own.lost_flushes < mmotm.lost_flushes);
    assert!(own.batches > mmotm.batches, "each switch costs a flush");
    assert!(own.unsafe_per_cpu > 0, "the hooks are as unsafe as before");
    assert_eq!((mainline.lost_flushes, mainline.unsafe_per_cpu), (0, 0));
}

#[test]
fn batches_pay_on_every_machine() {
    let rows = batch_vs_unbatched::run_all().expect("runs");
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert!(row.batched < row.unbatched, "{row:?}");
    }
}
