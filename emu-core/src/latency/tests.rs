//! What is measured is what the profile says, on every machine and after changes.

use super::*;

/// Most that a plateau may differ from the profile, as a part of it.
const TOLERANCE: f64 = 0.1;

fn measured(profile: &MachineProfile) -> Vec<Plateau> {
    let mut plateaus = Vec::new();
    measure(profile, &mut |plateau| plateaus.push(plateau)).unwrap();
    plateaus
}

fn agree(profile: &MachineProfile, plateaus: &[Plateau]) {
    assert_eq!(plateaus.len() as u64, plateau_count(profile));
    for plateau in plateaus {
        let (name, says) = (plateau.name, plateau.profile);
        let measured = plateau.measured.unwrap_or(f64::NAN);
        let differs = (measured - says).abs() / says;
        let machine = profile.name();
        assert!(
            differs < TOLERANCE,
            "{machine} {name}: {measured}, not {says}"
        );
    }
}

fn changed(name: &str, changes: &[&str]) -> MachineProfile {
    let mut profile = MachineProfile::builtin(name).unwrap();
    changes.iter().for_each(|c| profile.set(c).unwrap());
    profile
}

#[test]
fn every_machine_is_as_its_profile_says() {
    for name in MachineProfile::NAMES {
        let profile = MachineProfile::builtin(name).unwrap();
        agree(&profile, &measured(&profile));
    }
}

#[test]
fn what_is_measured_follows_the_figures() {
    let as_it_is = measured(&MachineProfile::builtin("power7").unwrap());
    let changes = [
        "l1d.latency=5",
        "l2.latency=19",
        "l3.latency=60",
        "memory.latency=900",
        "translation.erat_miss=30",
        "translation.walk=40",
        "exception.interrupt_entry=130",
        "tlb.tlbie=140",
        "tlb.tlbiel=90",
        "tlb.tlbsync=1500",
        "reservation.store_conditional=50",
        "geometry.erat_sets=16",
        "geometry.erat_ways=2",
        "geometry.tlb_ways=8",
        "geometry.slb_entries=70",
    ];
    let profile = changed("power7", &changes);
    let after = measured(&profile);
    agree(&profile, &after);
    for (before, after) in as_it_is.iter().zip(&after) {
        let ratio = after.measured.unwrap() / before.measured.unwrap();
        assert!(!(0.6..1.6).contains(&ratio), "{}: {ratio}", after.name);
    }
}

#[test]
fn sizes_are_followed_and_what_is_hidden_is_said() {
    let changes = [
        "l1d.bytes=8192",
        "l1d.ways=3",
        "l2.bytes=100000",
        "l2.ways=5",
        "l3.bytes=20971520",
        "l3.ways=16",
        "tlb.tlbie_bus=5000",
        "geometry.slb_entries=600",
        "geometry.tlb_sets=8",
        "geometry.tlb_ways=20",
    ];
    let profile = changed("power9", &changes);
    agree(&profile, &measured(&profile));
    let profile = changed("ppc970", &["l2.bytes=16384", "l3.bytes=1000000"]);
    let plateaus = measured(&profile);
    let hidden: Vec<&str> = plateaus
        .iter()
        .filter_map(|p| p.measured.is_none().then_some(p.name))
        .collect();
    assert_eq!(hidden, ["l2"]);
}

#[test]
fn a_curve_climbs_from_level_to_level() {
    let profile = changed("power8", &["l2.bytes=131072", "l3.bytes=262144"]);
    let mut points = Vec::new();
    curve(&profile, &mut |bytes, cycles| points.push((bytes, cycles))).unwrap();
    assert!(
        points.is_sorted_by(|a, b| a.0 < b.0 && a.1 <= b.1 + 0.5),
        "{points:?}"
    );
    let near = |cycles: f64| points.iter().any(|p| (p.1 - cycles).abs() < 0.1);
    assert!([3.0, 13.0, 27.0, 310.0].into_iter().all(near), "{points:?}");
}
