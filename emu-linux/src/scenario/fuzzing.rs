//! The check that the fuzz target and the tests share.

use super::Scenario;

/// Reads `bytes` as a scenario and checks what must hold for any input: no panic; every error has a
/// place in the text and one line of words; a text that is accepted says again what it said.
///
/// # Panics
/// If one of these does not hold.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Scenario::parse(&text) {
        Ok(scenario) => {
            assert_eq!(scenario.text(), text);
            assert_eq!(Scenario::parse(&text).as_ref(), Ok(&scenario));
            let config = scenario.settings().config("mmotm");
            assert!(config.cpus.is_none_or(|cpus| (1..=64).contains(&cpus)));
            assert!(config.operations != Some(0));
        }
        Err(errors) => {
            assert!(!errors.all().is_empty());
            let lines = 1 + text.matches('\n').count();
            for error in errors.all() {
                assert!((1..=lines).contains(&error.line), "{error}");
                assert!(error.column >= 1 && !error.message.is_empty());
                assert!(!error.message.contains('\n'), "{error}");
            }
        }
    }
}
