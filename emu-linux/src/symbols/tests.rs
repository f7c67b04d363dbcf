//! Tests of the backtraces: whole reports of both kernels, and what happens at the edge of the data.

use super::*;

const SWAPON: [&str; 6] = [
    "sys_swapon",
    "vmalloc",
    "__vmalloc_node",
    "__vmalloc_area_node",
    "map_vm_area",
    "vmap_page_range",
];
const SWAPOFF: [&str; 8] = [
    "sys_swapoff",
    "vfree",
    "__vunmap",
    "remove_vm_area",
    "free_unmap_vmap_area",
    "unmap_vmap_area",
    "vunmap_page_range",
    "apply_to_page_range_batch",
];
const APPLY: [&str; 4] = [
    "apply_to_page_range_batch",
    "apply_to_pud_range",
    "apply_to_pmd_range",
    "apply_to_pte_range",
];
const ENTER: &[&str] = &["arch_enter_lazy_mmu_mode"];
const LEAVE: &[&str] = &["arch_leave_lazy_mmu_mode"];
const PENDING: &[&str] = &["arch_leave_lazy_mmu_mode", "__flush_tlb_pending"];
const RANGE: &[&str] = &[
    "arch_leave_lazy_mmu_mode",
    "__flush_tlb_pending",
    "flush_hash_range",
    "native_flush_hash_range",
];

/// A stack in which each function calls the next and the innermost is at `site`.
fn stack(functions: &[&'static str], site: &'static str) -> Vec<Frame> {
    let sites = functions.iter().skip(1).copied().chain([site]);
    functions
        .iter()
        .zip(sites)
        .map(|(&function, site)| Frame { function, site })
        .collect()
}

fn swapon(inner: &[&'static str], site: &'static str) -> Vec<Frame> {
    stack(&[&SWAPON[..], &APPLY, inner].concat(), site)
}

fn swapoff(inner: &[&'static str], site: &'static str) -> Vec<Frame> {
    stack(&[&SWAPOFF[..], &APPLY[1..], inner].concat(), site)
}

/// The six stacks of the report of March 2011, each with the end of its task's stack.
fn six(swapon_top: u64, swapoff_top: u64) -> [(Vec<Frame>, u64); 6] {
    [
        (swapon(ENTER, "__get_cpu_var"), swapon_top),
        (swapon(LEAVE, "__get_cpu_var"), swapon_top),
        (swapoff(ENTER, "__get_cpu_var"), swapoff_top),
        (swapoff(LEAVE, "__get_cpu_var"), swapoff_top),
        (swapoff(PENDING, "smp_processor_id"), swapoff_top),
        (swapoff(RANGE, "__get_cpu_var"), swapoff_top),
    ]
}

/// The reports of a file, each as its caller and the lines of its trace.
fn recorded(text: &str) -> Vec<(String, Vec<String>)> {
    let report = |report: &str| {
        let caller = report
            .lines()
            .find_map(|line| line.strip_prefix("caller is "));
        let trace = report
            .lines()
            .filter(|line| line.starts_with('['))
            .map(str::to_owned);
        (
            caller.expect("every report names its caller").to_owned(),
            trace.collect(),
        )
    };
    text.split("BUG: ").skip(1).map(report).collect()
}

fn printed(backtrace: &Backtrace) -> (String, Vec<String>) {
    (
        backtrace.caller.clone(),
        backtrace
            .lines
            .iter()
            .map(BacktraceLine::to_string)
            .collect(),
    )
}

#[test]
fn the_six_reports_of_2_6_38_come_out_as_printed() {
    let table = SymbolTable::builtin(KernelVersion::V2_6_38).unwrap();
    let expected = recorded(include_str!("../../data/reports-2.6.38.txt"));
    assert_eq!(expected.len(), 6);
    let innermost = [
        0x29c3_b870,
        0x29c3_b870,
        0x260d_38b0,
        0x260d_38b0,
        0x260d_3830,
        0x260d_36f0,
    ];
    let stacks = six(0xc000_0000_29c3_c000, 0xc000_0000_260d_4000);
    for (((frames, top), expected), sp) in stacks.into_iter().zip(expected).zip(innermost) {
        let backtrace = table.backtrace(&frames, top);
        assert_eq!(printed(&backtrace), expected);
        assert_eq!(backtrace.lines[0].sp, Some(0xc000_0000_0000_0000 | sp));
    }
}

#[test]
fn the_six_reports_of_6_1_come_out_as_printed() {
    let table = SymbolTable::builtin(KernelVersion::V6_1).unwrap();
    let expected = recorded(include_str!("../../data/reports-6.1.txt"));
    assert_eq!(expected.len(), 6);
    let top = 0xc000_0000_012e_8000;
    for ((mut frames, top), expected) in six(top, top).into_iter().zip(expected) {
        // 6.1 allocates the swap map with vzalloc.
        for frame in frames
            .iter_mut()
            .filter(|frame| frame.function == "vmalloc")
        {
            frame.function = "vzalloc";
        }
        assert_eq!(printed(&table.backtrace(&frames, top)), expected);
    }
}

#[test]
fn functions_of_6_1_by_their_own_names_give_the_same_lines() {
    let table = SymbolTable::builtin(KernelVersion::V6_1).unwrap();
    let top = 0xc000_0000_012e_8000;
    let own = [
        "sys_swapon",
        "vzalloc",
        "__vmalloc_node",
        "__vmalloc_node_range",
        "__vmalloc_area_node",
        "vmap_pages_range",
        "vmap_pages_range_noflush",
        "vmap_small_pages_range_noflush",
        "__apply_to_page_range",
        "apply_to_p4d_range",
    ];
    let frames = stack(&[&own[..], &APPLY[1..], ENTER].concat(), "this_cpu_ptr");
    let expected = recorded(include_str!("../../data/reports-6.1.txt"));
    assert_eq!(printed(&table.backtrace(&frames, top)), expected[0]);
}

#[test]
fn a_hypervisor_table_has_its_own_last_function() {
    let table = SymbolTable::builtin(KernelVersion::V6_1).unwrap();
    let inner = [&RANGE[..3], &["pSeries_lpar_flush_hash_range"]].concat();
    let backtrace = table.backtrace(&swapoff(&inner, "this_cpu_ptr"), 0xc000_0000_012b_8000);
    assert_eq!(
        backtrace.caller,
        ".pSeries_lpar_flush_hash_range+0x54/0x530"
    );
    assert_eq!(
        backtrace.lines[0].to_string(),
        "[c0000000012b7440] [c00000000043e96c] .dump_stack_lvl+0x68/0x98 (unreliable)"
    );
    assert_eq!(
        backtrace.lines[3].to_string(),
        "[c0000000012b7690] [c000000000061a50] .flush_hash_range+0x50/0x180"
    );
}

#[test]
fn the_unknown_is_printed_by_name_and_nothing_is_made_up() {
    let table = SymbolTable::builtin(KernelVersion::V2_6_38).unwrap();
    let frames = stack(
        &["kswapd", "__vunmap", "remove_vm_area", "vunmap_pte_range"],
        "",
    );
    let backtrace = table.backtrace(&frames, 0xc000_0000_2000_4000);
    let texts: Vec<&str> = backtrace
        .lines
        .iter()
        .map(|line| line.text.as_str())
        .collect();
    assert_eq!(backtrace.caller, ".vunmap_pte_range");
    assert_eq!(
        texts[1..],
        [
            ".debug_smp_processor_id+0xe4/0x11c",
            ".vunmap_pte_range",
            ".remove_vm_area",
            ".__vunmap+0x50/0x104",
            ".kswapd"
        ]
    );
    assert!(backtrace.lines.iter().all(|line| line.sp.is_none()));
    assert_eq!(
        backtrace.lines[4].to_string(),
        "[????????????????] [c0000000000ec0a8] .__vunmap+0x50/0x104"
    );
}

#[test]
fn a_task_without_a_system_call_starts_below_the_same_room() {
    let table = SymbolTable::builtin(KernelVersion::V2_6_38).unwrap();
    let top = 0xc000_0000_2000_4000;
    let backtrace = table.backtrace(&stack(&SWAPOFF[1..3], "remove_vm_area"), top);
    let last = backtrace.lines.last().unwrap();
    assert_eq!(
        (last.text.as_str(), last.sp),
        (".__vunmap", Some(top - 0x1d0 - 0x90))
    );
    let none = table.backtrace(&[], top);
    assert_eq!((none.caller.as_str(), none.lines.len()), ("", 2));
    // A stack that would start below zero has no stack pointers.
    assert!(
        table
            .backtrace(&[], 0x10)
            .lines
            .iter()
            .all(|line| line.sp.is_none())
    );
}

#[test]
fn recursion_keeps_its_frames() {
    let table = SymbolTable::builtin(KernelVersion::V6_1).unwrap();
    let frames = stack(
        &["sys_swapon", "__vmalloc_area_node", "__vmalloc_area_node"],
        "",
    );
    let backtrace = table.backtrace(&frames, 0xc000_0000_012e_8000);
    let nested = backtrace
        .lines
        .iter()
        .filter(|line| line.text.contains("__vmalloc_node_range"));
    assert_eq!(nested.count(), 2);
}

#[test]
fn scheduling_while_atomic_has_its_own_reporting_functions() {
    let table = SymbolTable::builtin(KernelVersion::V2_6_38).unwrap();
    let frames = stack(&["sys_swapoff", "schedule"], "__schedule_bug");
    let backtrace = table.schedule_bug_backtrace(&frames, 0xc000_0000_260d_4000);
    let printed: Vec<String> = backtrace
        .lines
        .iter()
        .map(BacktraceLine::to_string)
        .collect();
    assert_eq!(
        printed,
        [
            "[????????????????] [c00000000000f38c] .show_stack+0x6c/0x16c (unreliable)",
            "[????????????????] [????????????????] .__schedule_bug",
            "[????????????????] [????????????????] .schedule",
            "[c0000000260d3d60] [????????????????] .SyS_swapoff",
            "[c0000000260d3e30] [c0000000000075a8] syscall_exit+0x0/0x40",
        ]
    );
}

#[test]
fn a_wrong_table_is_refused_with_the_reason() {
    let table = |symbols: &str, rest: &str| {
        SymbolTable::parse(&format!("entry = []\nreporting = []\n{symbols}\n{rest}")).unwrap_err()
    };
    let refused = |symbols: &str, rest: &str| table(symbols, rest).to_string();
    let a = "[symbols.\".a\"]\nbase = \"c000000000000000\"\nsize = 16\nframe = 8";
    assert!(SymbolTable::parse(&format!("entry = []\nreporting = []\n{a}")).is_ok());
    assert!(refused("[symbols.\".a\"]\nbase = \"x\"\nsize = 1\nframe = 8", "").contains("`x`"));
    let end = "[symbols.\".a\"]\nbase = \"ffffffffffffffff\"\nsize = 2\nframe = 8";
    assert!(refused(end, "").contains("does not fit"));
    assert!(refused(a, "sites = { b = 17 }").contains("0x11 is past the end of `.a`"));
    assert!(refused(a, "sites = { \".b\" = 1 }").contains("`.a` names `.b`"));
    assert!(refused(a, "[functions]\nb = \".c\"").contains("`b` names `.c`"));
    assert!(refused(a, "colour = 1").contains("colour"));
    let entry = "reporting = []\nentry = [{ symbol = \".b\", offset = 0 }]\n";
    let error = SymbolTable::parse(&format!("{entry}{a}")).unwrap_err();
    assert!(error.to_string().contains("`entry` names `.b`"));
}
