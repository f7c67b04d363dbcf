use super::*;
use crate::config::{
    Backend, FirmwareFeature, KernelVersion, Pages, Preempt, RunConfig, ScheduleChoice,
};
use crate::mode::Mode;
use crate::timing::Timing;
use crate::workload::workloads;
use proptest::prelude::*;

const GOOD: &str = "name = 'x'\nsummary = 'y'\nworkload = 'vmalloc-pairs'\n";

fn errors(text: &str) -> Vec<String> {
    match Scenario::parse(text) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.all().iter().map(ToString::to_string).collect(),
    }
}

/// Texts that are nearly right: the lines of a full one, some left out, some with other values.
fn lines() -> impl Strategy<Value = String> {
    let values = prop::sample::select(vec![
        "1",
        "0",
        "-1",
        "65",
        "0x10",
        "1e3",
        "true",
        "'mmotm'",
        "'4k'",
        "'6.1'",
        "''",
        "[1]",
        "{}",
        "\"\\u0000\"",
        "18446744073709551616",
        "'vmalloc-pairs'",
        "\"\"\"\n\n\"\"\"",
        "nan",
    ]);
    let keys = prop::sample::select(vec![
        "name",
        "summary",
        "workload",
        "policy",
        "kernel",
        "pages",
        "hpte-pages",
        "machine",
        "backend",
        "preempt",
        "cpus",
        "htab-bits",
        "seed",
        "schedule",
        "mode",
        "timing",
        "pin",
        "touch",
        "operations",
        "disturbances",
        "nmae",
        "disturbances.fail-map",
        "disturbances.fail-alloc",
        "'\"'",
        "a.b.c",
    ]);
    let line = (keys, values).prop_map(|(key, value)| format!("{key} = {value}\n"));
    (any::<bool>(), prop::collection::vec(line, 0..8)).prop_map(|(good, lines)| {
        let head = if good { GOOD } else { "" };
        format!("{head}{}", lines.concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn any_text_is_read_or_refused_in_words(text in ".{0,200}") {
        fuzzing::check(text.as_bytes());
    }

    #[test]
    fn any_lines_are_read_or_refused_in_words(text in lines()) {
        fuzzing::check(text.as_bytes());
    }

    #[test]
    fn a_built_in_text_cut_or_changed_anywhere(
        which in 0..TEXTS.len(), at in 0usize..600, byte in any::<u8>(), cut in any::<bool>()
    ) {
        let mut bytes = TEXTS[which].as_bytes().to_vec();
        let at = at % bytes.len();
        if cut { bytes.truncate(at) } else { bytes[at] = byte }
        fuzzing::check(&bytes);
    }
}

#[test]
fn every_built_in_text_is_a_scenario_and_every_workload_has_one() {
    for text in TEXTS {
        let scenario = Scenario::parse(text).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(Scenario::built_in(scenario.name()), Some(&scenario));
        let mut settings = scenario.settings().clone();
        assert_eq!(
            settings.fill(&RunConfig::new("mmotm")),
            settings.config("mmotm"),
            "what a library user does not ask for is set nowhere"
        );
        settings.operations = None;
        assert_eq!(settings, Settings::default(), "it is the scenario as such");
    }
    assert_eq!(scenarios().len(), TEXTS.len());
    for workload in workloads() {
        let scenario = BUILT_IN.iter().find(|s| s.workload() == workload.name);
        assert!(scenario.is_some(), "{}", workload.name);
    }
}

#[test]
fn every_key_reaches_its_setting() {
    let text = format!(
        "{GOOD}policy = 'mmotm'\nkernel = '6.1'\npages = '64k'\nhpte-pages = '4k'\nmachine = 'power7'\nbackend = 'lpar'\nfirmware-feature = 'block-remove'\npreempt = 'none'\n\
         cpus = 3\nbatch-size = 32\nhtab-bits = 12\nseed = 0x9\nschedule = 'random'\nmode = 'threads'\ntiming = 'functional'\npin = true\ntouch = 7\n\
         operations = 1_000\n[disturbances]\nfail-alloc = 2\nfail-map = 6\n\
         timer-period = 10000\nmigrate-every = 5\n"
    );
    let scenario = Scenario::parse(&text).unwrap();
    assert_eq!((scenario.name(), scenario.summary()), ("x", "y"));
    assert_eq!(scenario.workload(), "vmalloc-pairs");
    assert_eq!(scenario.policy(), Some("mmotm"));
    let expected = Settings {
        kernel: Some(KernelVersion::V6_1),
        pages: Some(Pages::K64),
        hpte_pages: Some(Pages::K4),
        machine: emu_core::MachineProfile::builtin("power7").ok(),
        backend: Some(Backend::Lpar),
        firmware_feature: Some(FirmwareFeature::BlockRemove),
        batch_size: Some(32),
        htab_bits: Some(12),
        cpus: Some(3),
        seed: Some(9),
        touch: Some(7),
        operations: Some(1000),
        preempt: Some(Preempt::None),
        pin: Some(true),
        schedule: Some(ScheduleChoice::Random),
        mode: Some(Mode::Threads),
        timing: Some(Timing::Functional),
        fail_alloc: Some(2),
        fail_map: Some(6),
        timer_period: Some(10_000),
        migrate_every: Some(5),
    };
    assert_eq!(scenario.settings(), &expected);
}

#[test]
fn settings_stand_over_each_other() {
    let above = Settings {
        cpus: Some(2),
        ..Settings::default()
    };
    let below = Settings {
        cpus: Some(4),
        seed: Some(7),
        ..Settings::default()
    };
    let both = above.over(below);
    assert_eq!((both.cpus, both.seed, both.pin), (Some(2), Some(7), None));
    let config = both.config("mmotm");
    assert_eq!((config.cpus, config.seed), (Some(2), 7));
}

#[test]
fn each_refusal_names_the_place_what_was_wrong_and_what_would_be_right() {
    for (line, words) in [
        (
            "kernl = '6.1'",
            ["line 4, column 1", "no key `kernl`, did you mean `kernel`?"],
        ),
        (
            "kernel = '6.2'",
            [
                "line 4, column 10",
                "`kernel` is '6.2': write \"2.6.38\" or \"6.1\"",
            ],
        ),
        (
            "cpus = 65",
            [
                "column 8",
                "`cpus` is 65: write a whole number from 1 to 64",
            ],
        ),
        ("cpus = 'two'", ["`cpus` is 'two'", "from 1 to 64"]),
        ("seed = -1", ["`seed` is -1", "a whole number, 0 or more"]),
        ("operations = 0", ["`operations` is 0", "1 or more"]),
        (
            "touch = 9",
            [
                "column 9",
                "`touch` is 9: `vmalloc-pairs` has 0 to 8 pages to touch",
            ],
        ),
        (
            "policy = 'mmtom'",
            [
                "no policy `mmtom`, did you mean `mmotm`?",
                "emu policy list",
            ],
        ),
        ("pages = '16k'", ["`pages` is '16k'", "\"4k\" or \"64k\""]),
        ("pin = 1", ["`pin` is 1", "true or false"]),
        (
            "schedule = 'randm'",
            ["did you mean `random`?", "`schedule` is 'randm'"],
        ),
        (
            "disturbances = 3",
            ["`disturbances` is 3", "[disturbances]"],
        ),
        (
            "[disturbances]\nfail-mop = 1",
            ["line 5, column 1", "did you mean `fail-map`?"],
        ),
        (
            "[disturbances]\nfail-map = 0",
            ["line 5, column 12", "1 or more"],
        ),
        ("cpus = ", ["line 4", "not TOML"]),
    ] {
        let found = errors(&format!("{GOOD}{line}\n"));
        assert_eq!(found.len(), 1, "{line}: {found:?}");
        assert!(
            words.iter().all(|word| found[0].contains(word)),
            "{line}: {found:?}"
        );
    }
}

#[test]
fn all_that_is_wrong_is_told_in_the_order_of_the_text() {
    let found = errors("name = 'A B'\nworkload = 'vmaloc-pairs'\ncpus = 0\ncpus2 = 1\n");
    let places: Vec<&str> = found
        .iter()
        .map(|error| error.split(':').next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            "line 1, column 1",
            "line 1, column 8",
            "line 2, column 12",
            "line 3, column 8",
            "line 4, column 1"
        ],
        "{found:?}"
    );
    assert!(found[0].contains("`summary` is missing"));
    assert!(found[2].contains("did you mean `vmalloc-pairs`?"));
    let first = Scenario::parse("cpus = 0").unwrap_err().to_string();
    assert!(first.contains("and 3 more"), "{first}");
}

#[test]
fn a_setting_without_use_is_refused() {
    let swap = "name = 'x'\nsummary = 'y'\nworkload = 'swapon-swapoff'\noperations = 3\n";
    let found = errors(swap);
    assert!(
        found[0].contains("line 4, column 14") && found[0].contains("no use"),
        "{found:?}"
    );
}
