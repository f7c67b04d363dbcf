//! How to record a capture that this importer understands.

/// A commented shell script for the machine to be recorded: kprobe definitions, events to enable,
/// marks, and how to save the text. Sources: Linux Documentation/trace/kprobetrace.rst and
/// Documentation/trace/ftrace.rst.
pub fn recipe() -> &'static str {
    include_str!("recipe.sh")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::{Event, Malformed};

    /// Whether the parser knows the event: given no fields, it misses one.
    fn known(name: &str) -> bool {
        matches!(
            Event::parse(name.as_bytes(), b""),
            Err(Malformed::Missing(_))
        )
    }

    #[test]
    fn every_event_of_the_recipe_is_known() {
        let (mut kprobes, mut tracepoints) = (0, 0);
        for line in recipe().lines() {
            if let Some(name) = line.strip_prefix("enable ").and_then(|l| l.split_once('/')) {
                let name = name.1.split(' ').next().unwrap();
                assert!(known(name), "tracepoint {name}");
                tracepoints += 1;
            }
            let definition = line
                .trim_start_matches("probe ")
                .trim_start_matches(['"', '\'']);
            let kind = definition.split_once(":kprobes/");
            if let Some((_, rest)) = kind.filter(|(kind, _)| ["p", "r10"].contains(kind)) {
                let (name, rest) = rest.split_once(' ').unwrap();
                assert!(known(name), "kprobe {name}");
                assert!(rest.contains('='), "{name} fetches something");
                kprobes += 1;
            }
        }
        assert_eq!((kprobes, tracepoints), (15, 7));
        assert!(!known("sched_switch"));
    }

    #[test]
    fn every_field_of_the_recipe_is_what_the_parser_wants() {
        let joined = recipe().replace("\\\n", "");
        for definition in joined
            .lines()
            .filter_map(|line| line.split_once(":kprobes/"))
        {
            let text = definition.1.split(['"', '\'']).next().unwrap();
            let (name, fetched) = text.split_once(' ').unwrap();
            let fields: Vec<String> = fetched
                .split(' ')
                .filter_map(|field| field.split_once('='))
                .map(|(key, _)| format!("{key}=1"))
                .collect();
            let event = Event::parse(name.as_bytes(), fields.join(" ").as_bytes());
            assert!(matches!(event, Ok(Some(_))), "{name}: {event:?}");
        }
    }
}
