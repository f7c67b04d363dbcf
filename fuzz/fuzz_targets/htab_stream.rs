//! Fuzzes the reader of KVM's table streams; the check itself is `emu_mmu::htab_stream::check_stream`.
#![no_main]
use emu_mmu::htab_stream::check_stream;
use libfuzzer_sys::fuzz_target;
fuzz_target!(|bytes: &[u8]| check_stream(bytes));
