//! `emu explore FILE.toml`: a scenario of one's own.

use super::{printed, refused};
use serde_json::Value;

/// A thread begins on another CPU while a page that it uses is unmapped.
const OWN: &str = r#"
id = "own"
about = "A thread begins on another CPU while its process unmaps a page."
setup = ["mm m", "fault m 0"]

[[task]]
name = "munmap"
mm = "m"
run = ["load 0", "munmap 0 1"]

[[task]]
name = "thread"
cpu = 1
mm = "m"
run = ["try-store 0", "try-store 0"]
"#;

fn found(text: &str) -> String {
    let document: Value = serde_json::from_str(text).unwrap();
    let violation = &document["results"][0]["violations"][0];
    assert_eq!(violation["kind"], "stale-translation");
    violation["replay"].as_str().unwrap().to_owned()
}

#[test]
fn a_scenario_of_ones_own_is_explored_replayed_and_explained() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let own = file("own.toml");
    std::fs::write(&own, OWN).unwrap();
    let search = [own.as_str(), "--policies", "mainline-6.1", "--cpus", "2"];
    let (code, text) = printed(&[&["explore", "--json"], &search[..]].concat());
    assert_eq!(code, 1);
    let string = found(&text);
    assert!(string.starts_with("own/mainline-6.1/2/"), "{string}");
    let (_, text) = printed(&[&["explore"], &search[..]].concat());
    let again = format!("emu replay {string} --scenario {own}");
    assert!(text.contains(&again), "{text}");

    let (code, text) = printed(&["replay", &string, "--scenario", &own]);
    assert_eq!(code, 1);
    assert!(text.contains("in a frame that was freed"), "{text}");
    let words = ["explain", &string, "--scenario", &own, "--remedies"];
    let (code, text) = printed(&words);
    assert_eq!(code, 0);
    assert!(text.contains("closed by: none"), "{text}");
    let text = refused(&["replay", &string]);
    assert!(text.contains("`--scenario FILE.toml` names it"), "{text}");
    let text = refused(&["explain", "lost-flush", "--scenario", &own]);
    assert!(text.contains("is an invariant"), "{text}");

    // A job carries the scenario with it; a checkpoint knows of which file it is.
    let (_, jobs) = printed(&[&["explore", "plan"], &search[..]].concat());
    let checkpoint = file("checkpoint");
    let kept = [&["explore", "--checkpoint", &checkpoint], &search[..]].concat();
    assert_eq!(printed(&kept).0, 1);
    std::fs::write(&own, OWN.replace("load 0", "store 0")).unwrap();
    let text = refused(&kept);
    assert!(text.contains("of another file"), "{text}");
    let text = refused(&["replay", &string, "--scenario", &own]);
    assert!(text.contains("another version of the model"), "{text}");
    std::fs::remove_file(&own).unwrap();
    let (_, result) = printed(&["explore", "run", "--job", jobs.trim_end()]);
    std::fs::write(file("jobs"), jobs).unwrap();
    std::fs::write(file("result"), result).unwrap();
    let words = ["explore", "merge", &file("jobs"), &file("result"), "--json"];
    assert_eq!(found(&printed(&words).1), string);
}

#[test]
fn a_file_that_holds_no_scenario_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = folder.path().join("own.toml").to_str().unwrap().to_owned();
    let text = refused(&["explore", &own]);
    assert!(text.contains("own.toml"), "{text}");
    for (from, to, right) in [
        ("id = \"own\"", "id = \"o/n\"", "letters, digits"),
        ("munmap 0 1", "munmap 0", "`munmap PAGE PAGES` is right"),
        ("\"mm m\", ", "", "`mm m` would"),
        ("cpu = 1", "cpus = 1", "unknown field `cpus`"),
        ("load 0", "vfree a", "`vmalloc a` would"),
    ] {
        std::fs::write(&own, OWN.replacen(from, to, 1)).unwrap();
        let text = refused(&["explore", &own]);
        assert!(text.contains("own.toml") && text.contains(right), "{text}");
    }
    std::fs::write(&own, OWN).unwrap();
    let text = refused(&["explore", &own, "--only", "own"]);
    assert!(text.contains("narrows `emu explore all`"), "{text}");
}
