//! What a profile holds, and what is refused in one.

use super::{CostTable, MachineProfile, ProfileError};
use emu_mmu::{Mmu, MmuGeometry};

#[test]
fn the_built_in_profiles_are_complete_and_build() {
    for name in MachineProfile::NAMES {
        let profile = MachineProfile::builtin(name).unwrap();
        assert_eq!(profile.name(), name);
        assert_eq!(profile.figures().count(), CostTable::KEYS.len());
        assert!(profile.functions().count() > 50);
        assert!(Mmu::new(&profile.geometry()).is_ok());
        assert!(!profile.about().is_empty());
    }
}

#[test]
fn shapes_are_those_that_the_mmu_knows_by_name() {
    let known = [
        ("ppc970", MmuGeometry::PPC970),
        ("power8", MmuGeometry::POWER8),
        ("power9", MmuGeometry::POWER9),
    ];
    for (name, geometry) in known {
        assert_eq!(
            MachineProfile::builtin(name).unwrap().geometry(),
            geometry,
            "{name}"
        );
    }
}

#[test]
fn paths_are_unique_and_have_a_range() {
    for (i, key) in CostTable::KEYS.iter().enumerate() {
        assert!(key.min < key.max && key.path.contains('.') && !key.about.trim().is_empty());
        assert!(
            CostTable::KEYS[..i]
                .iter()
                .all(|other| other.path != key.path)
        );
    }
}

#[test]
fn a_profile_of_ones_own_stands_on_another() {
    let text = "name = 'mine'\nbase = 'power8'\n[tlb]\ntlbie = { value = 7, source = 'estimate' }\n\
                [functions]\nvmalloc = { value = 3, source = 'counted' }";
    let mine = MachineProfile::parse(text).unwrap();
    let costs = mine.costs();
    assert_eq!((costs.tlbie, costs.functions["vmalloc"]), (7, 3));
    assert_eq!(
        costs.ptesync,
        MachineProfile::builtin("power8").unwrap().costs().ptesync
    );
    assert!(mine.figure("tlb.tlbie").unwrap().is_estimate());
    assert!(!mine.figure("functions.vmalloc").unwrap().is_estimate());
}

#[test]
fn what_the_schema_does_not_know_is_refused_with_the_nearest() {
    let on = |rest: &str| MachineProfile::parse(&format!("name = 'm'\nbase = 'power8'\n{rest}"));
    let said = |rest: &str| on(rest).unwrap_err().to_string();
    assert!(
        said("[tlb]\ntlbei = { value = 1, source = 'estimate' }")
            .contains("did you mean `tlb.tlbie`")
    );
    assert!(
        said("[functions]\nvmaloc = { value = 1, source = 'x' }")
            .contains("did you mean `functions.vmalloc`")
    );
    assert!(said("nmae = 'x'").contains("no `nmae`"));
    assert!(said("[tlb]\ntlbie = 3").contains("value = N"));
    assert!(said("[tlb]\ntlbie = { value = 3, source = ' ' }").contains("names no source"));
    assert!(said("[tlb]\ntlbie = { value = 'x', source = 'e' }").contains("a number"));
    assert!(said("[tlb]\ntlbie = { value = 3, source = 'e', unit = 'x' }").contains("`unit`"));
    assert!(
        said("[features]\npages_64k = { value = 2, source = 'e' }").contains("is 2: take 0 to 1")
    );
    assert!(MachineProfile::parse("base = 'power8'").is_err());
    assert!(matches!(
        MachineProfile::parse("name = 'm'\nbase = 'power6'"),
        Err(ProfileError::NoMachine { name, .. }) if name == "power6"
    ));
    assert!(matches!(
        MachineProfile::parse("name = 'm'"),
        Err(ProfileError::Missing { .. })
    ));
    assert!(matches!(
        MachineProfile::parse("name ="),
        Err(ProfileError::Parse(_))
    ));
}

#[test]
fn a_figure_is_changed_by_hand() {
    let mut machine = MachineProfile::builtin("ppc970").unwrap();
    machine.set("tlb.tlbsync = 1_000").unwrap();
    machine.set("functions.vmalloc=9").unwrap();
    assert_eq!(machine.costs().tlbsync, 1000);
    assert_eq!(machine.costs().functions["vmalloc"], 9);
    assert_eq!(machine.figure("tlb.tlbsync").unwrap().source, "set by hand");
    for (typed, words) in [
        ("tlb.tlbsync", "PATH=VALUE"),
        ("tlb.tlbsink=3", "did you mean `tlb.tlbsync`"),
        ("tlb.tlbsync=x", "is x: take 0 to"),
        ("tlb.tlbsync=-1", "is -1: take 0 to"),
        ("machine.frequency_mhz=0", "take 1 to"),
    ] {
        let said = machine.set(typed).unwrap_err().to_string();
        assert!(said.contains(words), "{typed}: {said}");
    }
}

#[test]
fn functional_costs_keep_the_shape() {
    let power8 = MachineProfile::builtin("power8").unwrap().costs();
    let functional = power8.clone().into_functional();
    assert_eq!(functional.tlb_sets, power8.tlb_sets);
    assert_eq!(functional.functions, power8.functions);
    let (plain, frequency) = (CostTable::functional(), functional.frequency_mhz);
    assert_eq!(
        (functional.tlbie, functional.walk, frequency),
        (plain.tlbie, plain.walk, plain.frequency_mhz)
    );
}
