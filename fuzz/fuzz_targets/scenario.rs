//! Fuzzes the reader of scenario files; the check itself is `emu_linux::scenario::fuzzing::check`.
#![no_main]
use emu_linux::scenario::fuzzing::check;
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| check(bytes));
