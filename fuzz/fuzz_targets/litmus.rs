//! Fuzzes the reader of litmus tests; the check itself is `emu_linux::litmus::fuzzing::check`.
#![no_main]
use emu_linux::litmus::fuzzing::check;
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| check(bytes));
