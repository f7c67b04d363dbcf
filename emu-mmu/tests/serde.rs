//! Feature `serde`: what is written reads back the same, and bad input is refused.
#![cfg(feature = "serde")]

use emu_mmu::*;
use serde_json::{from_str, to_string};
use std::fmt::Debug;

fn round_trip<T>(value: &T) -> String
where
    T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + Debug,
{
    let text = to_string(value).expect("serializes");
    assert_eq!(&from_str::<T>(&text).expect(&text), value, "{text}");
    text
}

#[test]
fn addresses_are_numbers() {
    assert_eq!(round_trip(&Ea::new(u64::MAX)), u64::MAX.to_string());
    assert_eq!(round_trip(&Ra::new(7)), "7");
    assert_eq!(round_trip(&Vpn::new(7)), "7");
    assert_eq!(round_trip(&Vsid::new(7)), "7");
    assert_eq!(round_trip(&Esid::new(7)), "7");
    assert_eq!(round_trip(&HpteIndex(9)), "9");
    assert_eq!(round_trip(&GroupIndex(9)), "9");
}

#[test]
fn entries_and_operands() {
    let (size, page) = (SegmentSize::S1T, PageSize::P64K);
    let vpn = Vpn::new(0x12345);
    let hpte = Hpte {
        v: HpteV::new(vpn, size, page).with_valid(),
        r: HpteR::new(Ra::new(0x10000), page, page),
    };
    round_trip(&hpte);
    round_trip(&HpteFormat::Isa3);
    let segment = SlbEntry::kernel(Ea::new(0xd << 60), Vsid::new(3), size, page);
    let text = round_trip(&segment);
    assert!(text.contains("\"page\":\"P64K\""), "{text}");
    let operand = TlbInvalidate {
        vpn,
        segment: size,
        base: page,
        actual: PageSize::P16M,
        local: true,
    };
    round_trip(&Scope::Page(operand));
    round_trip(&TlbieForm::Isa203);
    round_trip(&TlbieRs { pid: 1, lpid: 2 });
    let segment = SlbieOperand {
        ea: Ea::new(1 << 40),
        class: true,
        segment: size,
    };
    round_trip(&SlbiegOperand {
        pid: 1,
        lpid: 2,
        segment,
    });
}

#[test]
fn choices_registers_and_shapes() {
    round_trip(&Choices::QEMU);
    round_trip(&Deviations::QEMU);
    round_trip(&Registers::default());
    for geometry in [
        MmuGeometry::PPC970,
        MmuGeometry::POWER8,
        MmuGeometry::POWER9,
    ] {
        round_trip(&geometry);
    }
    for (features, name) in [
        (MmuFeatures::PPC970, "ppc970"),
        (MmuFeatures::POWER5_PLUS, "power5_plus"),
        (MmuFeatures::POWER9, "power7"),
    ] {
        let text = round_trip(&features);
        assert!(
            text.contains(&format!("\"page_sizes\":\"{name}\"")),
            "{text}"
        );
    }
    assert_eq!(round_trip(&PageSizes::POWER6), "\"power6\"");
    let unknown = from_str::<PageSizes>("\"power99\"").expect_err("no such CPU");
    assert!(unknown.to_string().contains("power99"));
}

#[test]
fn walks_and_faults() {
    let memory = GuestMemory::new(1 << 20).expect("memory");
    let hpt = Hpt::new(Ra::new(1 << 18), 11).expect("table");
    let mut mmu = Mmu::new(&MmuGeometry::POWER8).expect("geometry");
    let ea = Ea::new(0x1234_5678);
    let segment = SlbEntry::kernel(ea, Vsid::new(0x77), SegmentSize::S256M, PageSize::P4K);
    mmu.slbmte(segment.rs(), segment.rb(5)).expect("slbmte");
    let state = AccessState::user();
    round_trip(&state);
    let told = mmu
        .explain(&memory, &hpt, ea, Access::Store, state)
        .expect("told");
    let text = round_trip(&told);
    assert!(text.contains("DataStorage"), "{text}");
    struct Keep(Option<Walk>);
    impl Probe for Keep {
        fn walk(&mut self, walk: &Walk) {
            self.0 = Some(*walk);
        }
    }
    let mut probe = Keep(None);
    let fault = mmu.translate(&memory, &hpt, ea, Access::Fetch, state, &mut probe);
    round_trip(&fault);
    round_trip(&probe.0.expect("a walk"));
    let outside = Hpt::new(Ra::new(1 << 30), 11).expect("table");
    let fault = mmu.translate(&memory, &outside, ea, Access::Load, state, &mut ());
    assert!(matches!(fault, Err(Fault::MachineCheck { .. })));
    round_trip(&fault);
    round_trip(&hpt.health(&memory).expect("health"));
    round_trip(&Hcall::BlockRemove);
    round_trip(&HcallError::LongBusy);
}
