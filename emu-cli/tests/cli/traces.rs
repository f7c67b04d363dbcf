//! `emu trace`: the compact form, its operations as lines, made-up workloads.

use super::{names_in, printed, refused};
use serde_json::Value;
use std::fs;
use std::path::Path;

const CAPTURE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../traces/captures/swap-powernv-4k-mmotm-memset.txt.gz"
);

fn path_in(folder: &Path, name: &str) -> String {
    folder.join(name).to_str().unwrap().to_owned()
}

fn imported(folder: &Path) -> String {
    let out = path_in(folder, "swap.emut");
    let (code, said) = printed(&["trace", "import", CAPTURE, "-o", &out]);
    let bytes = fs::metadata(&out).unwrap().len();
    assert_eq!(code, 0);
    assert!(
        said.starts_with(&out) && said.contains("operations"),
        "{said}"
    );
    assert!(bytes > 256 && names_in(folder) == ["swap.emut"]);
    out
}

#[test]
fn an_imported_capture_runs_and_compares_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let emut = imported(folder.path());
    for words in [
        &["run", "--policy", "mainline-6.16-fixed", "--json"][..],
        &["compare", "--policies", "mmotm,mainline-6.1", "--json"],
    ] {
        let told = |file: &str| {
            let (code, text) = printed(&[&words[..1], &[file], &words[1..]].concat());
            let names = ["swap-powernv-4k-mmotm-memset.txt.gz", "swap.emut"];
            let text = names
                .iter()
                .fold(text, |text, name| text.replace(name, "it"));
            (code, text)
        };
        assert_eq!(told(CAPTURE), told(&emut));
    }
    let lines = |file: &str, more: &[&str]| printed(&[&["trace", "cat", file], more].concat()).1;
    assert_eq!(lines(CAPTURE, &[]), lines(&emut, &[]));
    assert_eq!(lines(CAPTURE, &["--json"]), lines(&emut, &["--json"]));
}

#[test]
fn cat_prints_one_operation_a_line_in_either_form() {
    let text = printed(&["trace", "cat", CAPTURE]).1;
    let json = printed(&["trace", "cat", CAPTURE, "--json"]).1;
    assert_eq!(text.lines().count(), json.lines().count());
    for (line, object) in text.lines().zip(json.lines()) {
        let object: Value = serde_json::from_str(object).unwrap();
        let (verb, fields) = match &object["op"] {
            Value::Object(op) => op.iter().next().map(|(k, v)| (k.clone(), v)).unwrap(),
            _ => ("existing".to_owned(), &object["existing"]),
        };
        assert!(line.contains(&format!(" {verb} ")), "{line}");
        if let Some(addr) = fields["addr"].as_u64() {
            assert!(line.contains(&format!("addr={addr:#x}")), "{line}");
        }
    }
}

#[test]
fn info_knows_the_compact_form() {
    let folder = tempfile::tempdir().unwrap();
    let emut = imported(folder.path());
    let (code, text) = printed(&["trace", "info", &emut]);
    assert_eq!(code, 0);
    assert!(
        text.contains(".emut version 1") && text.contains("touch"),
        "{text}"
    );
    let info = printed(&["trace", "info", &emut, "--json"]).1;
    let info: Value = serde_json::from_str(&info).unwrap();
    assert_eq!(info["format"], "emut");
    let text = printed(&["trace", "info", CAPTURE, "--json"]).1;
    let text: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text["format"], "ftrace");
    assert_eq!(info["tasks"], text["tasks"]);
    assert_eq!(
        info["recorded"]["whole"]["kfault"],
        text["recorded"]["whole"]["kfault"]
    );
}

#[test]
fn a_made_up_workload_is_the_same_for_the_same_seed() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str, seed: &str| {
        let out = path_in(folder.path(), name);
        let words = ["trace", "gen", "--tasks", "3", "--operations", "400"];
        let more = ["--pages-max", "9", "--seed", seed, "-o", &out];
        let (code, said) = printed(&[&words[..], &more].concat());
        assert_eq!(code, 0);
        assert!(said.contains("400 operations"), "{said}");
        (fs::read(&out).unwrap(), out)
    };
    let (first, path) = make("a", "5");
    assert_eq!(first, make("b", "5").0);
    assert_ne!(first, make("c", "6").0);
    assert_eq!(printed(&["trace", "cat", &path]).1.lines().count(), 400);
    let run = printed(&["run", &path, "--policy", "mainline-6.1", "--json"]).1;
    let run: Value = serde_json::from_str(&run).unwrap();
    assert_eq!(run["trace"]["operations"], 400);
    assert_eq!(run["trace"]["anomalies"], serde_json::json!({}));
}

#[test]
fn what_cannot_be_imported_or_made_is_refused_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let emut = imported(folder.path());
    let other = path_in(folder.path(), "other.emut");
    for (words, said) in [
        (&["trace", "import", &emut, "-o", &other][..], "already"),
        (&["trace", "import", CAPTURE, "-o", "-"], "regular file"),
        (&["trace", "import", &other, "-o", &emut], "other.emut"),
        (&["trace", "gen", "--operations", "1", "-o", &other], "1"),
        (
            &["trace", "gen", "--pages-max", "5000", "-o", &other],
            "4096",
        ),
        (&["trace", "gen", "--tasks", "0", "-o", &other], "4096"),
        (&["trace", "gen", "--tasks", "2"], "--output"),
    ] {
        let text = refused(words);
        assert!(text.contains(said), "{words:?}: {text}");
    }
    let text = path_in(folder.path(), "text");
    fs::copy(CAPTURE, &text).unwrap();
    assert!(refused(&["trace", "import", &text, "-o", &text]).contains("capture itself"));
    let mut bytes = fs::read(&emut).unwrap();
    bytes[300] ^= 1;
    fs::write(&emut, bytes).unwrap();
    for words in [
        &["run", &emut, "--policy", "mmotm"][..],
        &["trace", "info", &emut],
        &["trace", "cat", &emut],
    ] {
        let text = refused(words);
        assert!(
            text.contains("damaged") && text.lines().count() == 1,
            "{text}"
        );
    }
    let mut names = names_in(folder.path());
    names.sort();
    assert_eq!(names, ["swap.emut", "text"]);
}
