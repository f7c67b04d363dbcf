use super::*;
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufRead, BufReader};

fn lines() -> Vec<String> {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../traces/vectors/mmu-vectors-third.jsonl.gz"
    );
    let file = GzDecoder::new(File::open(path).expect("vectors"));
    let lines = BufReader::new(file).lines();
    lines.map(|line| line.expect("line")).collect()
}

fn recorded() -> Vec<Vector> {
    let lines = lines();
    let vectors = lines.iter().map(|line| Vector::parse(line));
    vectors.map(|vector| vector.expect("vector")).collect()
}

fn runner() -> Runner {
    Runner::new().expect("runner")
}

#[test]
fn recorded_states_give_what_was_recorded() {
    let (mut runner, mut passed, mut deviating) = (runner(), 0, 0);
    for vector in recorded() {
        match runner.run(&vector).expect("runs") {
            Verdict::Passed => passed += 1,
            Verdict::Deviates(ours) => {
                assert!(!ours.is_empty(), "{} {}", vector.id, vector.cat);
                deviating += 1;
            }
            Verdict::Failed(ours) => panic!("{} {}: {ours:?}", vector.id, vector.cat),
        }
    }
    assert_eq!(passed + deviating, 1196);
    assert_eq!(deviating, 33);
}

/// Changes one thing that an access is said to have given.
type Corrupt = fn(&mut RecordedAccess) -> bool;

const CORRUPTIONS: [(&str, Corrupt); 8] = [
    ("real address", |a| flip(&mut a.expect.ra, 0x1000)),
    ("second real address", |a| flip(&mut a.expect.ra2, 8)),
    ("vector", |a| flip(&mut a.expect.vector, 0x80)),
    ("DSISR", |a| {
        a.expect.vector != Some(Hex(0x600)) && flip(&mut a.expect.dsisr, 0x0200_0000)
    }),
    ("DAR", |a| flip(&mut a.expect.dar, 1)),
    ("SRR1", |a| flip(&mut a.expect.srr1, 0x0800_0000)),
    ("success", |a| {
        a.expect.ok.take().is_some() && {
            a.expect.vector = Some(Hex(0x300));
            true
        }
    }),
    ("R and C", |a| {
        let changed = a.rc_after.replacen('3', "2", 1);
        let changed = if changed == a.rc_after {
            changed.replacen('0', "2", 1)
        } else {
            changed
        };
        changed != std::mem::replace(&mut a.rc_after, changed.clone())
    }),
];

fn flip(field: &mut Option<Hex>, bit: u64) -> bool {
    match field {
        Some(Hex(value)) => {
            *value ^= bit;
            true
        }
        None => false,
    }
}

#[test]
fn every_corrupted_expectation_is_noticed() {
    let mut runner = runner();
    for (what, corrupt) in CORRUPTIONS {
        let mut tried = 0;
        for vector in recorded() {
            for i in 0..vector.accesses.len() {
                let mut corrupted = vector.clone();
                if !corrupt(&mut corrupted.accesses[i]) {
                    continue;
                }
                tried += 1;
                let verdict = runner.run(&corrupted).expect("runs");
                let Verdict::Failed(differences) = verdict else {
                    panic!("{what} of access {i} of {}: {verdict:?}", vector.id);
                };
                assert_eq!(differences.len(), 1);
                assert_eq!(differences[0].access, i);
            }
        }
        assert!(tried > 20, "{what}: {tried}");
    }
}

#[test]
fn what_is_undefined_is_a_choice() {
    let mut plain = Runner::with_choices(crate::Choices::default()).expect("runner");
    let (mut undefined, mut others) = (0, 0);
    for vector in recorded() {
        if let Verdict::Failed(_) = plain.run(&vector).expect("runs") {
            *(if vector.undef.is_some() {
                &mut undefined
            } else {
                &mut others
            }) += 1;
        }
    }
    assert!(undefined > 20, "{undefined}");
    // One `ldarx` to caching inhibited storage that the recording does not mark.
    assert!(others <= 1, "{others}");
}

fn refusal(line: &str) -> String {
    Vector::parse(line).expect_err("refused").to_string()
}

#[test]
fn lines_that_are_no_vectors_are_refused() {
    let with = |fields: &str| {
        format!(
            r#"{{"id":7,"cat":"c","cpu":"power8",{fields}"slb":[],"hptes":[{{"index":1,"dw0":"0x1","dw1":"0x2"}}],
            "accesses":[{{"ea":"0x0","kind":"ld","pr":0,"expect":{{"vector":"0x380"}},"rc_after":"0"}}]}}"#
        )
    };
    assert!(refusal("").contains("EOF"));
    assert!(refusal(&with("")).contains("`sdr1`"));
    let both = r#""sdr1":"0x0","pate0":"0x0","#;
    assert!(refusal(&with(both)).contains("power8"));
    assert!(refusal(&with(r#""sdr1":"12","#)).contains("0x1f"));
    assert!(refusal(&with(r#""sdr1":"0x0","sdr2":"0x0","#)).contains("sdr2"));
    let good = with(r#""sdr1":"0x40000","#);
    for (from, to, word) in [
        (r#""rc_after":"0""#, r#""rc_after":"4""#, "0 to 3"),
        (r#""rc_after":"0""#, r#""rc_after":"00""#, "1 digits"),
        (r#""kind":"ld""#, r#""kind":"lq""#, "lq"),
        (r#""cpu":"power8""#, r#""cpu":"power7""#, "power7"),
    ] {
        assert!(refusal(&good.replace(from, to)).contains(word), "{to}");
    }
    let vector = Vector::parse(&good).expect("good");
    assert_eq!(runner().run(&vector).expect("runs"), Verdict::Passed);
}

#[test]
fn states_that_cannot_be_are_errors() {
    let vector = |sdr1: &str, slb: &str, index: u64| {
        let line = format!(
            r#"{{"id":7,"cat":"c","cpu":"970","sdr1":"{sdr1}","slb":[{slb}],
            "hptes":[{{"index":{index},"dw0":"0x1","dw1":"0x2"}}],"accesses":[]}}"#
        );
        let vector = Vector::parse(&line).expect("vector");
        runner().run(&vector).expect_err("error").to_string()
    };
    assert!(vector("0x40000", "", 16384).contains("past the table"));
    assert!(vector("0x4001d", "", 0).contains("2^40 groups"));
    assert!(vector("0xfffffffffc0000", "", 0).contains("outside guest memory"));
    let large = r#"{"rb":"0x8000000","rs":"0x4000000000000000"}"#;
    assert!(vector("0x40000", large, 0).contains("segment size"));
}

proptest::proptest! {
    #[test]
    fn lines_with_other_bytes_do_no_harm(
        line in 0usize..1196,
        at in proptest::collection::vec((0usize..4000, proptest::prelude::any::<u8>()), 1..6),
    ) {
        static LINES: std::sync::LazyLock<Vec<String>> = std::sync::LazyLock::new(lines);
        let mut bytes = LINES[line].clone().into_bytes();
        for (place, byte) in at {
            let place = place % bytes.len();
            // Mostly digits, so that most lines stay vectors with another state.
            bytes[place] = if bytes[place].is_ascii_hexdigit() { b"0123456789abcdef"[usize::from(byte & 15)] } else { byte };
        }
        fuzzing::check_vectors(&bytes);
    }
}
