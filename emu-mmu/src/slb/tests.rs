use super::*;

fn entry(esid: u64, segment: SegmentSize, class: bool) -> SlbEntry {
    let (esid, vsid) = (Esid::new(esid), Vsid::new(0x1000 + esid));
    SlbEntry {
        esid,
        vsid,
        segment,
        class,
        kp: true,
        valid: true,
        ..SlbEntry::default()
    }
}

fn filled() -> Slb {
    let mut slb = Slb::new(8);
    for i in 0..6 {
        let e = entry(0x10 + i, SegmentSize::S256M, i % 2 == 1);
        slb.slbmte(e.rs(), e.rb(i)).expect("slbmte");
    }
    slb
}

#[test]
fn words() {
    // Linux 2.6.38 asm/mmu-hash64.h: vmalloc's first segment, Kp, 64 KB pages, slot 1.
    let e = SlbEntry {
        page: PageSize::P64K,
        vsid: Vsid::new(0xf_09b8_9af5),
        ..entry(0xd_0000_0000, SegmentSize::S256M, false)
    };
    assert_eq!(e.rs(), 0xf_09b8_9af5 << 12 | 0x400 | 0x110);
    assert_eq!(e.rb(1), 0xd000_0000_0800_0001);
    let e = SlbEntry {
        vsid: Vsid::new(0xeb71b0),
        n: true,
        ks: true,
        ..entry(0xd0_0000, SegmentSize::S1T, true)
    };
    assert_eq!(e.rs(), 1 << 62 | 0xeb71b0 << 24 | 0xe80);
    assert_eq!(SlbEntry::from_words(e.rs(), e.rb(3)), Ok(e));
    assert_eq!(
        SlbEntry::from_words(e.rs(), e.rb(3) | 0x30_0000_0000),
        Ok(e),
        "1 TB ESID low bits"
    );
}

#[test]
fn reserved_fields_are_refused() {
    let mut slb = Slb::new(4);
    assert_eq!(slb.slbmte(2 << 62, 0), Err(SlbError::SegmentSize { b: 2 }));
    assert_eq!(slb.slbmte(0x130, 0), Err(SlbError::PageSize { llp: 7 }));
    assert_eq!(slb.slbmte(0x010, 0), Err(SlbError::PageSize { llp: 1 }));
    assert_eq!(
        slb.slbmte(0, 4),
        Err(SlbError::Index {
            index: 4,
            entries: 4
        })
    );
    assert_eq!(
        slb.slbmfee(9),
        Err(SlbError::Index {
            index: 9,
            entries: 4
        })
    );
    assert_eq!(slb.slbia(5), Err(SlbError::Ih { ih: 5 }));
    assert_eq!(Slb::new(0).lookup(Ea::new(0)), None);
}

#[test]
fn lookup_and_read_back() {
    let mut slb = filled();
    let found = slb.lookup(Ea::new(0x1_3fff_ffff)).map(|(i, e)| (i, e.vsid));
    assert_eq!(found, Some((3, Vsid::new(0x1013))));
    assert_eq!(slb.lookup(Ea::new(0x1_6000_0000)), None);
    let e = entry(0x13, SegmentSize::S256M, true);
    assert_eq!((slb.slbmfee(3), slb.slbmfev(3)), (Ok(e.rb(0)), Ok(e.rs())));
    assert_eq!((slb.slbmfee(7), slb.slbmfev(7)), (Ok(0), Ok(0)));
}

#[test]
fn slbie_needs_class_and_size() {
    let mut slb = filled();
    let ea = Ea::new(0x1_3000_0000);
    assert_eq!(slb.slbie(ea, false, SegmentSize::S256M), 0);
    assert_eq!(slb.slbie(ea, true, SegmentSize::S1T), 0);
    assert_eq!(slb.slbie(ea, true, SegmentSize::S256M), 1);
    assert_eq!(slb.lookup(ea), None);
}

#[test]
fn slbia_table() {
    let left = |ih| {
        let mut slb = filled();
        let gone = slb.slbia(ih).expect("slbia");
        let left: Vec<_> = (0..8).filter(|&i| slb.entries()[i].valid).collect();
        assert_eq!(gone as usize + left.len(), 6);
        left
    };
    for ih in [0, 1, 2, 6] {
        assert_eq!(left(ih), [0], "IH={ih}");
    }
    assert_eq!(left(3), [0, 2, 4]);
    assert_eq!(left(4), [0usize; 0]);
    assert_eq!(left(7), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn overlap_takes_the_lowest_index() {
    let mut slb = Slb::new(4);
    let (small, big) = (
        entry(0x5, SegmentSize::S256M, false),
        entry(0, SegmentSize::S1T, false),
    );
    slb.slbmte(small.rs(), small.rb(1)).expect("slbmte");
    assert!(!slb.has_overlap());
    slb.slbmte(big.rs(), big.rb(2)).expect("slbmte");
    assert!(slb.has_overlap());
    assert_eq!(slb.lookup(Ea::new(0)).map(|(i, _)| i), Some(2));
    assert_eq!(slb.lookup(Ea::new(0x5000_0000)).map(|(i, _)| i), Some(1));
    slb.slbie(Ea::new(0x5000_0000), false, SegmentSize::S256M);
    assert!(!slb.has_overlap());
}

mod any_order {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn overlap_and_lookup_are_those_of_a_plain_scan(
            steps in prop::collection::vec((0u8..8, 0u64..6, 0u64..0x90, any::<bool>(), any::<bool>()), 1..60),
        ) {
            let mut slb = Slb::new(6);
            for (what, index, esid, large, valid) in steps {
                let segment = if large { SegmentSize::S1T } else { SegmentSize::S256M };
                let ea = Ea::new(esid << 28);
                match what {
                    0 => { slb.slbie(ea, false, segment); }
                    1 => { slb.slbia(0).expect("slbia"); }
                    _ => {
                        let new = SlbEntry { valid, ..entry(ea.esid(segment).get(), segment, false) };
                        slb.slbmte(new.rs(), new.rb(index)).expect("slbmte");
                    }
                }
                let entries = slb.entries().to_vec();
                let overlap = (0..6).any(|i| (0..i).any(|j| entries[i].overlaps(&entries[j])));
                prop_assert_eq!(slb.has_overlap(), overlap);
                for esid in 0..0x90u64 {
                    let ea = Ea::new(esid << 28);
                    let first = entries.iter().position(|e| e.covers(ea));
                    prop_assert_eq!(slb.lookup(ea).map(|(i, _)| i), first);
                }
            }
        }
    }
}
