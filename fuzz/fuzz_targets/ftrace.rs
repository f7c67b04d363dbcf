//! Fuzzes the ftrace importer; the check itself is `emu_linux::trace::fuzzing::check`.
#![no_main]
use emu_linux::trace::fuzzing::check;
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| check(bytes));
