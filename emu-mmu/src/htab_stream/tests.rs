use super::*;
use crate::hpte::HpteFormat;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn table() -> (GuestMemory, Hpt) {
    let memory = GuestMemory::new(4 << 20).expect("memory");
    (memory, Hpt::new(Ra::new(1 << 20), 11).expect("table"))
}

const fn entry(n: u64) -> Hpte {
    Hpte {
        v: HpteV(n << 7 | 1 | (n & 1) << 4),
        r: HpteR(n << 12 | 0x192),
    }
}

#[test]
fn bytes_of_a_small_stream() {
    let (memory, hpt) = table();
    hpt.put(&memory, 0, entry(2)).expect("put");
    for (order, head) in [
        (HeaderOrder::Little, [0, 0, 0, 0, 1, 0, 0xff, 0x3f]),
        (HeaderOrder::Big, [0, 0, 0, 0, 0, 1, 0x3f, 0xff]),
    ] {
        let mut stream = Vec::new();
        let written = hpt.export_stream(&memory, &mut stream, order, false);
        assert_eq!(written.expect("export"), 1);
        assert_eq!(stream[..8], head);
        assert_eq!(stream[8..16], [0, 0, 0, 0, 0, 0, 1, 1], "big-endian");
        assert_eq!(stream.len(), 24);
    }
}

#[test]
fn bolted_entries_alone() {
    let (memory, hpt) = table();
    for n in 0..10 {
        hpt.put(&memory, n * 100, entry(n)).expect("put");
    }
    let mut stream = Vec::new();
    let written = hpt.export_stream(&memory, &mut stream, HeaderOrder::Big, true);
    assert_eq!(written.expect("export"), 5);
}

#[test]
fn streams_that_are_none() {
    let (memory, hpt) = table();
    let import = |bytes: &[u8]| {
        hpt.import_stream(&memory, &mut &bytes[..], HeaderOrder::Little)
            .expect_err("refused")
            .to_string()
    };
    assert!(import(&[0; 5]).contains("ends inside the record at byte 0"));
    assert!(import(&[0, 0, 0, 0, 1, 0, 0, 0, 9]).contains("ends inside"));
    assert!(import(&[0xff, 0xff, 0, 0, 0, 0, 2, 0]).contains("the table has 16384"));
    let mut free = vec![3, 0, 0, 0, 1, 0, 0, 0];
    free.extend([0; 16]);
    assert!(import(&free).contains("entry 3"));
    assert!(import(&[3, 0, 0, 0, 1, 0, 0, 0]).contains("ends inside"));
    let nothing = hpt.import_stream(&memory, &mut &[][..], HeaderOrder::Big);
    assert_eq!(nothing.expect("empty"), Imported::default());
}

proptest! {
    #[test]
    fn a_table_survives_the_stream(
        entries in proptest::collection::btree_map(0u64..16384, 1u64..1 << 40, 0..200),
        big: bool,
        isa3: bool,
    ) {
        let order = if big { HeaderOrder::Big } else { HeaderOrder::Little };
        let format = if isa3 { HpteFormat::Isa3 } else { HpteFormat::Isa2 };
        let (memory, hpt) = table();
        for (&index, &n) in &entries {
            hpt.put(&memory, index, entry(n)).expect("put");
        }
        let mut stream = Vec::new();
        let valid = hpt.export_stream(&memory, &mut stream, order, false).expect("export");
        prop_assert_eq!(valid, entries.len() as u64);
        let survey = StreamSurvey::of(&mut &stream[..], order).expect("survey");
        prop_assert_eq!((survey.valid, survey.end, survey.whole), (valid, 16384, true));
        let (memory, hpt) = table();
        let hpt = hpt.with_format(format);
        hpt.put(&memory, 7, entry(9)).expect("put");
        let read = hpt.import_stream(&memory, &mut &stream[..], order).expect("import");
        prop_assert_eq!((read.valid, read.valid + read.invalid), (valid, 16384));
        let found: BTreeMap<u64, u64> = (0..16384)
            .map(|i| (i, hpt.get(&memory, i).expect("get")))
            .filter(|(_, hpte)| hpte.v.is_valid())
            .map(|(i, hpte)| (i, hpte.r.0 >> 12))
            .collect();
        prop_assert_eq!(found, entries);
    }

    #[test]
    fn any_bytes_at_all(bytes in proptest::collection::vec(any::<u8>(), 0..400), big: bool) {
        let order = if big { HeaderOrder::Big } else { HeaderOrder::Little };
        let (memory, hpt) = table();
        let _ = hpt.import_stream(&memory, &mut &bytes[..], order);
        check_stream(&bytes);
    }
}

#[test]
fn a_record_of_nothing_is_refused() {
    let (memory, hpt) = table();
    let zeros = [0; 64];
    let survey = StreamSurvey::of(&mut &zeros[..], HeaderOrder::Little);
    assert!(matches!(survey, Err(StreamError::Empty { at: 0 })));
    let read = hpt.import_stream(&memory, &mut &zeros[..], HeaderOrder::Big);
    let said = read.expect_err("refused").to_string();
    assert_eq!(said, "the record at byte 0 covers no entry");
}
