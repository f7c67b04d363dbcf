//! Where the cycles of a run went, by the kernel's work.
//!
//! Owns the paths that kernel code says it is on, and the sixteen names of a report. Each cycle has one
//! name: what waits for a named piece of hardware (TLB, SLB, a cache level) has that piece's, and the
//! rest has the path's. So the names sum to the total exactly. Refuses to charge: the verbs do.

use emu_core::{Category, CpuReport, Job, Path};
use std::collections::BTreeMap;

/// Storing and changing Linux PTEs.
pub(crate) const PTE_WRITE: Path = Path::new(1);
/// Walking the Linux page table.
pub(crate) const PAGE_TABLE_WALK: Path = Path::new(2);
/// Searching, reading and writing groups of the hash table, by the kernel or the hypervisor.
pub(crate) const HASH_SEARCH: Path = Path::new(3);
/// The lock bit of a hash-table entry: taking it and waiting for it.
pub(crate) const ENTRY_LOCK: Path = Path::new(4);
/// Kernel locks: taking them and waiting for them.
pub(crate) const LOCK_WAIT: Path = Path::new(5);
/// The handler of data storage interrupts, outside the paths above.
pub(crate) const HASH_FAULT: Path = Path::new(6);
/// The handler of segment misses.
pub(crate) const SLB_MISS: Path = Path::new(7);
/// Timer and other interrupts, the scheduler, context switches.
pub(crate) const PREEMPTED: Path = Path::new(8);

/// Mapping into the kernel's address space.
pub(crate) const MAP: Job = Job::new(1);
/// Unmapping from it, and freeing.
pub(crate) const UNMAP: Job = Job::new(2);
/// Page faults and hash faults.
pub(crate) const FAULT: Job = Job::new(3);
/// Segment misses.
pub(crate) const SEGMENT: Job = Job::new(4);
/// Flushes: of a batch, of a page, and the tlbies.
pub(crate) const FLUSH: Job = Job::new(5);
/// Changes of a process's mappings.
pub(crate) const USER: Job = Job::new(6);
/// Interrupts, the scheduler, context switches.
pub(crate) const SCHEDULE: Job = Job::new(7);

/// The kernel paths and their names, in the order of a report.
const JOBS: [(Job, &str); Job::COUNT] = [
    (MAP, "map"),
    (UNMAP, "unmap"),
    (FAULT, "hash_fault"),
    (SEGMENT, "slb_miss"),
    (FLUSH, "flush"),
    (USER, "user_mappings"),
    (SCHEDULE, "schedule"),
    (Job::OTHER, OTHER_PART),
];

const PATHS: [Path; 9] = [
    Path::OTHER,
    PTE_WRITE,
    PAGE_TABLE_WALK,
    HASH_SEARCH,
    ENTRY_LOCK,
    LOCK_WAIT,
    HASH_FAULT,
    SLB_MISS,
    PREEMPTED,
];

/// The names, in the order of a report.
pub const PART_NAMES: [&str; 16] = [
    "pte_write",
    "page_table_walk",
    "hash_search",
    "entry_lock",
    "tlbie_issue",
    "tlbie_wait",
    "ptesync",
    "lock_wait",
    "slb",
    "erat_tlb",
    "hash_fault",
    "l1",
    "l2",
    "l3",
    "memory",
    "preempted",
];
/// The name of everything else: straight-line code, hypervisor calls, idle CPUs.
pub const OTHER_PART: &str = "other";

fn of_path(path: Path) -> &'static str {
    match path {
        PTE_WRITE => "pte_write",
        PAGE_TABLE_WALK => "page_table_walk",
        HASH_SEARCH => "hash_search",
        ENTRY_LOCK => "entry_lock",
        LOCK_WAIT => "lock_wait",
        HASH_FAULT => "hash_fault",
        SLB_MISS => "slb",
        PREEMPTED => "preempted",
        _ => OTHER_PART,
    }
}

/// The name of the cycles of a category on a path.
fn part(path: Path, category: Category) -> &'static str {
    match category {
        Category::LoadStore => "l1",
        Category::L2 => "l2",
        Category::L3 => "l3",
        Category::Memory => "memory",
        // A contended lock is a lock; other lines come over the same way as memory's.
        Category::Transfer => match path {
            ENTRY_LOCK | LOCK_WAIT => of_path(path),
            _ => "memory",
        },
        Category::Translation => "erat_tlb",
        Category::Slb => "slb",
        Category::Tlbie | Category::Tlbiel => "tlbie_issue",
        Category::TlbieWait => "tlbie_wait",
        Category::Ptesync => "ptesync",
        Category::Interrupts => "preempted",
        Category::StorageInterrupts => match path {
            SLB_MISS => "slb",
            _ => "hash_fault",
        },
        Category::Idle => OTHER_PART,
        Category::Instructions
        | Category::Reservation
        | Category::Barriers
        | Category::Hypercalls => of_path(path),
    }
}

/// Cycles of a CPU by name; every name is there, and they sum to its clock.
pub(crate) fn parts(cpu: &CpuReport) -> BTreeMap<String, u64> {
    let names = PART_NAMES.into_iter().chain([OTHER_PART]);
    let mut parts: BTreeMap<String, u64> = names.map(|name| (name.to_owned(), 0)).collect();
    for (job, _) in JOBS {
        add(&mut parts, cpu, job);
    }
    parts
}

fn add(parts: &mut BTreeMap<String, u64>, cpu: &CpuReport, job: Job) {
    for path in PATHS {
        for category in Category::ALL {
            let cycles = cpu.paths.of(job, path).get(category).get();
            if cycles > 0 {
                *parts.entry(part(path, category).to_owned()).or_default() += cycles;
            }
        }
    }
}

/// Cycles of all CPUs by kernel path, and of each by name; what is nothing is left out. They sum to the sum of
/// the clocks.
pub(crate) fn paths(cpus: &[CpuReport]) -> BTreeMap<String, BTreeMap<String, u64>> {
    let of_job = |(job, name): (Job, &str)| {
        let mut parts = BTreeMap::new();
        cpus.iter().for_each(|cpu| add(&mut parts, cpu, job));
        (!parts.is_empty()).then(|| (name.to_owned(), parts))
    };
    JOBS.into_iter().filter_map(of_job).collect()
}

/// The sum of several CPUs.
pub(crate) fn sum(parts: &[BTreeMap<String, u64>]) -> BTreeMap<String, u64> {
    let mut sum = BTreeMap::new();
    for (name, cycles) in parts.iter().flatten() {
        *sum.entry(name.clone()).or_default() += cycles;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_category_of_every_path_has_a_name_of_the_report() {
        for path in PATHS {
            for category in Category::ALL {
                let name = part(path, category);
                assert!(PART_NAMES.contains(&name) || name == OTHER_PART, "{name}");
            }
        }
    }

    #[test]
    fn every_job_has_a_name() {
        let mut numbers = JOBS.map(|(job, _)| job.index());
        numbers.sort_unstable();
        assert_eq!(numbers, std::array::from_fn(|i| i));
    }

    #[test]
    fn paths_have_numbers_of_their_own() {
        for (i, path) in PATHS.iter().enumerate() {
            assert_eq!(path.index(), i);
        }
    }
}
