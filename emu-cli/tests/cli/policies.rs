//! `emu policy` and `emu trace recipe`.

use super::printed;
use serde_json::Value;

#[test]
fn every_policy_is_listed_with_its_origin() {
    let (code, text) = printed(&["policy", "list"]);
    assert_eq!(code, 0);
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for policy in emu_linux::policies() {
        let entry = format!("{} {}", policy.name, policy.origin);
        assert!(words.contains(&entry), "`{entry}` not in\n{text}");
    }
}

#[test]
fn the_list_is_also_json() {
    let (_, text) = printed(&["policy", "list", "--json"]);
    let list: Value = serde_json::from_str(&text).unwrap();
    let names: Vec<&str> = list["policies"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let expected: Vec<&str> = emu_linux::policies()
        .iter()
        .map(|policy| policy.name)
        .collect();
    assert_eq!(names, expected);
    assert!(
        list["policies"][0]["about"]
            .as_str()
            .is_some_and(|about| !about.is_empty())
    );
}

#[test]
fn a_policy_is_shown_in_full() {
    for policy in emu_linux::policies() {
        let (_, text) = printed(&["policy", "show", policy.name]);
        let words = |text: &str| {
            text.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert!(text.starts_with(&format!("{}\n", policy.name)));
        assert!(words(&text).ends_with(&words(policy.about)));
    }
}

#[test]
fn the_recipe_is_printed_as_it_is() {
    assert_eq!(
        printed(&["trace", "recipe"]),
        (0, emu_linux::trace::recipe().to_owned())
    );
}
