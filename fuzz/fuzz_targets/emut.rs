//! Fuzzes the reader of `.emut` files; the check itself is `emu_linux::trace::fuzzing::check_emut`.
#![no_main]
use emu_linux::trace::fuzzing::check_emut;
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| check_emut(bytes));
