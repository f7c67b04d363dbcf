//! How allocation and free records become areas, in captures that are not whole.

use emu_linux::trace::{Importer, Op, PreExisting, Unexplained};

const BASE: u64 = 0xc000_3d00_0000_0000;

/// A capture of `events` (`pid event`), and its operations in short: `+start/pages`, `-start`,
/// `!addr`, with page numbers from [`BASE`].
fn import(events: &[&str]) -> (Importer, Vec<String>) {
    let mut text = "# tracer: nop\n".to_string();
    for event in events {
        let (pid, event) = event.split_once(' ').expect("pid event");
        let (pid, flags) = pid.split_once('/').unwrap_or((pid, "....."));
        let page = |n: &str| match n {
            "null" => 0,
            n => BASE + u64::from_str_radix(n, 16).expect("hex") * 4096,
        };
        let mut words = event.split(' ');
        let name = words.next().expect("a name");
        let rest: Vec<&str> = words.collect();
        let event = match name {
            "valloc" => format!("valloc: (f+0x1/0x2) size={}", rest[0]),
            "vmap" => format!(
                "vmap: (f+0x1/0x2) start={:#x} end={:#x}",
                page(rest[0]),
                page(rest[1])
            ),
            "area" => format!(
                "alloc_vmap_area: va_start: {} size={} align=1 vstart=0x0 vend=0x0 failed=0",
                page(rest[0]),
                page(rest[1]) - page(rest[0])
            ),
            "ret" => format!("vallocret: (f+0x1/0x2) addr={:#x}", page(rest[0])),
            "vfree" => format!("vfree: (f+0x1/0x2) addr={:#x}", page(rest[0])),
            "lazy" => format!(
                "valazy: (f) start={:#x} end={:#x}",
                page(rest[0]),
                page(rest[1])
            ),
            "touch" => format!(
                "hash_fault: hash fault with addr {:#x} and access = 0x8000000000000006 trap = 0x300",
                page(rest[0])
            ),
            "mark" => format!("tracing_mark_write: {}", rest.join(" ")),
            other => panic!("{other}"),
        };
        text += &format!("            task-{pid:<7} [000] {flags}     1.000000: {event}\n");
    }
    let importer = Importer::from_bytes("text", text.into_bytes()).expect("a capture");
    assert_eq!(importer.survey().malformed.lines, 0);
    let page = |addr: u64| (addr - BASE) / 4096;
    let ops = importer
        .ops()
        .expect("memory")
        .map(|op| match op.expect("memory").op {
            Op::Map {
                start, size_bytes, ..
            } => format!("+{:x}/{}", page(start), size_bytes / 4096),
            Op::Unmap { addr } => format!("-{:x}", page(addr)),
            Op::Touch { addr, write, .. } => {
                assert!(write);
                format!("!{:x}", page(addr))
            }
            Op::Begin(name) => format!("begin {name}"),
            Op::End(name) => format!("end {name}"),
        });
    let ops = ops.collect();
    (importer, ops)
}

#[track_caller]
fn expect(events: &[&str], ops: &str) -> Importer {
    let (importer, found) = import(events);
    assert_eq!(found.join(" "), ops);
    importer
}

#[test]
fn nesting_is_per_task() {
    let importer = expect(
        &[
            "1 mark begin a b",
            "1 valloc 8192",
            "1 vmap 10 13",
            "2 valloc 4096",
            "1 valloc 4096",
            "2 vmap 20 22",
            "1 vmap 30 32",
            "2 ret 20",
            "1 ret 30",
            "1 ret 10",
            "2 touch 20",
            "1 vfree 10",
            "1 vfree null",
            "1 mark end a b",
            "1 mark hello",
        ],
        "begin a b +20/1 +30/1 +10/2 !20 -10 end a b",
    );
    assert_eq!(importer.survey().unexplained, Unexplained::default());
}

#[test]
fn a_vmap_of_its_own_is_mapped_at_once() {
    expect(
        &["1 vmap 10 14", "1 touch 12", "1 vfree 10"],
        "+10/3 !12 -10",
    );
    // no guard page: its last page is touched
    expect(
        &["1 vmap 10 14", "1 touch 13", "1 vfree 10"],
        "+10/4 !13 -10",
    );
    // kprobe and tracepoint of one allocation
    expect(
        &[
            "1 area 10 14",
            "1 vmap 10 14",
            "1 valloc 4096",
            "1 area 20 22",
            "1 vmap 20 22",
            "1 ret 20",
        ],
        "+10/3 +20/1",
    );
}

#[test]
fn an_allocation_cut_at_its_end() {
    expect(&["1 valloc 4096", "1 vmap 10 12"], "");
    expect(
        &["1 valloc 4096", "1 vmap 10 12", "2 touch 10", "1 ret 10"],
        "+10/1 !10",
    );
    expect(
        &["1 valloc 4096", "1 vmap 10 12", "1 vfree 10", "1 ret null"],
        "",
    );
    // the return of the nested one was missed
    expect(
        &[
            "1 valloc 8192",
            "1 vmap 10 13",
            "1 valloc 4096",
            "1 vmap 20 22",
            "1 ret 10",
        ],
        "+20/1 +10/2",
    );
    // the vmap was missed
    expect(&["1 valloc 5000", "1 ret 10", "1 touch 11"], "+10/2 !11");
}

#[test]
fn an_allocation_cut_at_its_start() {
    let importer = expect(
        &["1 ret 10", "1 touch 10", "1 touch 11", "1 vfree 10"],
        "!10 !11 -10",
    );
    let area = PreExisting {
        start: BASE + 0x10000,
        end: BASE + 0x13000,
        size_bytes: 0x2000,
    };
    assert_eq!(importer.survey().pre_existing, [area]);
    expect(&["1 vmap 10 13", "1 ret 10", "1 touch 11"], "+10/2 !11");
}

#[test]
fn areas_older_than_the_capture() {
    let importer = expect(
        &[
            "1 touch 5",
            "1 vfree 10",
            "1 touch 22",
            "1 touch 20",
            "1 vmap 15 18",
            "1 vfree 20",
            "1 lazy 20 28",
            "1 touch 20",
        ],
        "!5 -10 !22 !20 +15/2 -20",
    );
    let area = |start: u64, end: u64, pages: u64| PreExisting {
        start: BASE + start * 4096,
        end: BASE + end * 4096,
        size_bytes: pages * 4096,
    };
    let survey = importer.survey();
    assert_eq!(
        survey.pre_existing,
        [area(5, 7, 1), area(0x10, 0x12, 1), area(0x20, 0x28, 7)]
    );
    assert_eq!(
        survey.unexplained,
        Unexplained {
            touches: 1,
            frees: 0
        }
    );
    let mut ops = importer.ops().expect("memory");
    assert_eq!(ops.by_ref().count(), 6);
    assert_eq!(ops.unexplained(), survey.unexplained);
}

#[test]
fn frees_without_and_with_too_many_records() {
    expect(
        &["1 vmap 10 12", "1 lazy 10 12", "1 lazy 10 12"],
        "+10/1 -10",
    );
    expect(&["1 vmap 10 12", "1 vfree 10", "1 lazy 10 12"], "+10/1 -10");
    // the area is given out again: its free was not seen
    expect(
        &["1 vmap 10 12", "1 vmap 20 22", "2 vmap 11 13"],
        "+10/1 +20/1 -10 +11/1",
    );
    // a free in an interrupt is done later, by a worker
    expect(
        &[
            "1 vmap 10 12",
            "1/d.h2. vfree 10",
            "1 touch 10",
            "2 vfree 10",
        ],
        "+10/1 !10 -10",
    );
}
