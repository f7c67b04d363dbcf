//! Fuzzes the reader of vector files; the check itself is `emu_mmu::vectors::fuzzing::check_vectors`.
#![no_main]
use emu_mmu::vectors::fuzzing::check_vectors;
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| check_vectors(bytes));
