//! The check that the fuzz target and the tests share.

use super::{Litmus, LitmusRunError};

/// Reads `bytes` as a litmus test and checks what must hold for any input: no panic; a refusal has its place
/// in the text and one line of words; a test that is accepted takes few CPUs and can be run, or says why not.
///
/// # Panics
/// If one of these does not hold.
pub fn check(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Litmus::parse(&text) {
        Ok(test) => {
            assert!((1..=4).contains(&test.cpus()));
            match test.run_within(100) {
                Ok(outcome) => assert_eq!(outcome.name, test.name()),
                Err(LitmusRunError::Setup) => panic!("the set-up of an accepted test failed"),
                Err(error) => assert!(!error.to_string().contains('\n'), "{error}"),
            }
        }
        Err(error) => {
            let lines = 1 + text.matches('\n').count();
            assert!((1..=lines).contains(&error.line), "{error}");
            assert!(error.column >= 1 && !error.message.is_empty());
            assert!(!error.message.contains('\n'), "{error}");
        }
    }
}
