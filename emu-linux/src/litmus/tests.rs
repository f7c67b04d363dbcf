//! White-box tests: the reader, the search against one that follows every run, the shipped tests.

use super::fuzzing::check;
use super::{Litmus, Outcome};
use proptest::prelude::*;
use std::path::PathBuf;

/// The shipped tests, by name.
fn corpus() -> Vec<(String, String)> {
    let dir = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../traces/litmus"));
    let mut all: Vec<(String, String)> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "hlit"))
        .map(|path| {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, std::fs::read_to_string(path).unwrap())
        })
        .collect();
    all.sort();
    all
}

fn run(text: &str) -> Outcome {
    Litmus::parse(text).unwrap().run().unwrap()
}

#[test]
fn every_shipped_test_is_named_as_its_file_and_holds() {
    let all = corpus();
    assert!(all.len() >= 40, "{} tests", all.len());
    for (name, text) in all {
        let test = Litmus::parse(&text).unwrap_or_else(|error| panic!("{name}:{error}"));
        assert_eq!(test.name(), name);
        assert!(text.contains("(*"), "{name} says nothing of its source");
        let outcome = test.run().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(outcome.holds(), "{name}: {outcome:#?}");
    }
}

#[test]
fn following_every_run_comes_to_the_same_counts() {
    let mut compared = 0;
    for (name, text) in corpus() {
        let test = Litmus::parse(&text).unwrap();
        let Ok(known) = test.run_within(200) else {
            continue;
        };
        if known.positive + known.negative + known.unfinished > 2_000 {
            continue;
        }
        let plain = test.search(true, u64::MAX).unwrap();
        let of = |outcome: &Outcome| (outcome.states.clone(), outcome.unfinished);
        assert_eq!(of(&known), of(&plain), "{name}");
        assert!(known.runs <= plain.runs, "{name}");
        compared += 1;
    }
    assert!(compared >= 30, "{compared}");
}

#[test]
fn schedules_are_all_orders_of_the_verbs() {
    // Three of one and two of the other: 5 over 2.
    let outcome = run("HLIT orders { var x = 0; } P0 @ 0 | P1 @ 1 ;
        write x 1 | a = read x ; write x 2 | b = read x ; write x 3 | ;
        exists (P1:a = 1 /\\ P1:b = 3)");
    assert_eq!(outcome.positive + outcome.negative, 10);
    assert_eq!(outcome.states.len(), 10);
    assert_eq!(outcome.positive, 1);
}

#[test]
fn who_waits_for_ever_is_counted_apart() {
    let text = |last: &str| {
        format!(
            "HLIT apart {{ var x = 0; var y = 0; }} P0 @ 0 | P1 @ 1 ;
            lock x | lock y ; lock y | lock x ; {last} exists (x = 0)"
        )
    };
    // Whoever has both keeps them.
    let kept = run(&text(""));
    assert_eq!((kept.positive, kept.negative), (0, 0));
    assert!(kept.unfinished > 0);
    let given_back = run(&text("unlock y | unlock x ; unlock x | unlock y ;"));
    assert!(given_back.unfinished > 0 && given_back.positive > 0);
    assert_eq!(given_back.negative, 0);
}

#[test]
fn a_lock_is_held_by_one() {
    let outcome = run("HLIT held { var l = 0; var x = 0; } P0 @ 0 | P1 @ 1 ;
        lock l | lock l ; a = read x | b = read x ; write x 1 | write x 1 ; unlock l | unlock l ;
        forbidden (P0:a = 0 /\\ P1:b = 0)");
    assert!(outcome.holds() && outcome.unfinished == 0, "{outcome:?}");
}

#[test]
fn an_interrupt_takes_a_task_to_its_next_cpu_unless_preemption_is_disabled() {
    let text = |before: &str| {
        format!(
            "HLIT moved {{ interrupts 1; }} P0 @ 0,1 ; {before} ; a = cpu ; b = cpu ; exists (P0:a != 0 \\/ P0:b != 0)"
        )
    };
    let moved = run(&text("isync"));
    // Not at all, or before one of three verbs.
    assert_eq!((moved.positive, moved.negative), (3, 1));
    let mut seen: Vec<_> = moved
        .states
        .iter()
        .map(|state| state.seen.clone())
        .collect();
    seen.dedup();
    assert_eq!(seen.len(), 3);
    assert_eq!(run(&text("preempt_disable")).positive, 1);
    assert_eq!(run(&text("local_irq_disable")).positive, 1);
}

#[test]
fn refusals_say_where_and_what_would_be_right() {
    let of = |text: &str| Litmus::parse(text).unwrap_err().to_string();
    let head = "HLIT a { page A; frame X = 1; }\nP0 @ 0 ;\n";
    assert_eq!(of("x"), "1:1: `x`: a test begins with `HLIT NAME`");
    let refused = of(&format!("{head}  tlbia A ; exists (X = 1)"));
    assert_eq!(refused, "3:3: no step `tlbia`: did you mean `tlbie`?");
    let refused = of(&format!("{head}  flush B ; exists (X = 1)"));
    assert_eq!(refused, "3:9: no page `B`: they are A");
    let refused = of(&format!("{head}  hpte_invalidate A ; exists (X = 1)"));
    assert_eq!(refused, "3:21: `;`: `hpte_invalidate PAGE SLOT` is right");
    let refused = of(&format!("{head}  a = flush A ; exists (X = 1)"));
    assert_eq!(refused, "3:3: `flush` gives nothing that `a` could hold");
    let refused = of(&format!("{head}  flush A ; exists (P0:r = 1)"));
    assert_eq!(refused, "3:24: no register `r`: there is none yet");
    let refused = of("HLIT a { page A; (* never ends");
    assert_eq!(refused, "1:18: this comment has no end: `*)`");
}

/// Words and signs that tests are made of, so that random texts come far.
fn scraps() -> impl Strategy<Value = String> {
    let scrap = prop::sample::select(vec![
        "HLIT",
        "t",
        "{",
        "}",
        "page",
        "A",
        ";",
        "frame",
        "X",
        "=",
        "7",
        "pte",
        "rw",
        "hpte",
        "0",
        "tlb",
        "P0",
        "@",
        "|",
        "r",
        "load",
        "flush",
        "free",
        "exists",
        "(",
        ")",
        "/\\",
        "P0:r",
        "hash_page",
        "store",
        "pte_clear",
        "interrupts",
        "1",
        "migrate",
        "lock",
        "var",
        "x",
        "-rw",
        "not",
        "duplicate-hpte",
        "(*",
        "*)",
    ]);
    prop::collection::vec(scrap, 0..40).prop_map(|scraps| scraps.join(" "))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}", scraps in scraps()) {
        check(text.as_bytes());
        check(scraps.as_bytes());
    }

    #[test]
    fn a_shipped_test_with_a_scrap_in_it_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        scraps in scraps(),
    ) {
        let all = corpus();
        let (_, text) = &all[which.index(all.len())];
        let at = at.index(text.len());
        let cut = (0..=at).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        let scrap = scraps.split(' ').next().unwrap_or("");
        check(format!("{}{scrap}{}", &text[..cut], &text[cut..]).as_bytes());
    }
}
