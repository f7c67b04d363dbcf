//! The checks that the fuzz targets and the tests share.

use super::emut::{self, seal};
use super::{Importer, Op, Reader, TraceOp};
use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

/// Imports `bytes` and checks what must hold for any input: no panic, both passes agree, lines are
/// all accounted for, and operations are consistent (an area is unmapped and touched only while
/// mapped, areas do not overlap).
///
/// # Panics
/// If one of these does not hold.
pub fn check(bytes: &[u8]) {
    let bytes: Arc<[u8]> = bytes.into();
    if let Ok(mut reader) = Reader::new("input", Cursor::new(bytes.clone())) {
        while let Ok(Some(record)) = reader.next_record() {
            assert!(record.line == reader.lines());
        }
        let stats = reader.stats();
        assert_eq!(stats.records, stats.known.values().sum::<u64>());
        let unknown = stats.unknown.values().sum::<u64>() + stats.unknown_others;
        assert!(stats.records + unknown + stats.malformed.lines <= stats.lines);
    }
    let Ok(importer) = Importer::from_bytes("input", bytes) else {
        return;
    };
    let survey = importer.survey();
    let mut live = BTreeMap::new();
    for area in &survey.pre_existing {
        map(&mut live, area.start, area.end, area.size_bytes);
    }
    let mut last_line = 0;
    for op in importer.ops().expect("memory can be read again") {
        let op = op.expect("the first pass read it");
        if !survey.synthesised {
            assert!(op.line >= last_line, "operations are in file order");
        }
        last_line = op.line;
        match op.op {
            Op::Map {
                start,
                end,
                size_bytes,
                ..
            } => map(&mut live, start, end, size_bytes),
            Op::Unmap { addr } => assert!(live.remove(&addr).is_some(), "{addr:#x} is not mapped"),
            Op::Touch { addr, .. } => {
                let area = live.range(..=addr).next_back();
                assert!(
                    area.is_some_and(|(_, &(_, mapped))| addr < mapped),
                    "{addr:#x} touched"
                );
            }
            Op::Begin(_) | Op::End(_) => {}
        }
    }
}

/// Reads `bytes` as an `.emut` file, as they are and with checksums made right, and checks what must
/// hold for any input: no panic; a file that is accepted gives all its operations, and is the same
/// after it is written anew.
///
/// # Panics
/// If one of these does not hold.
pub fn check_emut(bytes: &[u8]) {
    check_emut_once(bytes);
    let mut sealed = bytes.to_vec();
    seal(&mut sealed);
    check_emut_once(&sealed);
}

fn check_emut_once(bytes: &[u8]) {
    if !emut::looks_like_emut(bytes) {
        return;
    }
    let Ok(importer) = Importer::from_bytes("input", bytes) else {
        return;
    };
    let ops = |importer: &Importer| -> Vec<TraceOp> {
        let ops = importer.ops().expect("memory can be read again");
        ops.map(|op| op.expect("the first pass read it")).collect()
    };
    let (first, survey) = (ops(&importer), importer.survey());
    assert_eq!(first.len() as u64, survey.events.values().sum::<u64>());
    assert_eq!(
        first.len() + survey.pre_existing.len(),
        survey.records as usize
    );
    let anew = emut::write(Cursor::new(Vec::new()), "anew", &importer, &mut |_| ());
    let anew = anew.expect("memory can be written").into_inner();
    let again = Importer::from_bytes("anew", anew).expect("a file just written");
    assert_eq!(ops(&again), first);
    assert_eq!(again.survey().pre_existing, survey.pre_existing);
    assert_eq!(again.survey().recorded.whole, survey.recorded.whole);
    assert_eq!(again.page_bytes(), importer.page_bytes());
}

fn map(live: &mut BTreeMap<u64, (u64, u64)>, start: u64, end: u64, size_bytes: u64) {
    assert!(size_bytes > 0 && size_bytes <= end - start);
    let before = live.range(..end).next_back();
    assert!(
        before.is_none_or(|(_, &(end, _))| end <= start),
        "areas overlap at {start:#x}"
    );
    live.insert(start, (end, start + size_bytes));
}
