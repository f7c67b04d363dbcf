//! The interpreter against QEMU: random programs run in both, and after each instruction all registers and
//! the memory it may touch are the same.
//!
//! A program is an ELF file that Linux would run; a subroutine called after each instruction writes the
//! state down, and the end writes what was written down to standard output. Here the same words run bare,
//! to the first system call. Skipped where `qemu-ppc64` is not installed.

mod bare;
mod draw;
mod program;

use super::{Interpreter, MSR_LE, Registers};
use crate::{Clocked, Engine, MachineConfig};
use emu_mmu::{GuestMemory, Hpt, Ra};
use program::{BASE, DUMP_WORDS, MEMORY_BYTES, Program};
use std::process::{Command, Stdio};

/// Instructions compared in each byte order.
const INSTRUCTIONS: usize = 102_400;
/// Of one program.
const PROGRAM: usize = 12_800;

/// What a program wrote down under QEMU; `None` if it is not installed.
fn under_qemu(emulator: &str, elf: &[u8]) -> Option<Vec<u8>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("program");
    std::fs::write(&path, elf).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut command = Command::new(emulator);
    command.args(["-cpu", "power8"]).arg(&path);
    let output = command.stdin(Stdio::null()).output();
    match output {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        output => {
            let output = output.unwrap();
            assert!(output.status.success(), "{emulator}: {output:?}");
            Some(output.stdout)
        }
    }
}

/// The same here.
fn interpreted(program: &Program) -> Vec<u8> {
    let config = MachineConfig {
        memory_bytes: MEMORY_BYTES,
        hpt: Hpt::new(Ra::new(0), 11).unwrap(),
        ..MachineConfig::small_test()
    };
    let mut engine = Engine::new(config, Box::new(Clocked::new())).unwrap();
    let machine = engine.machine().clone();
    let attn = 0x200u32;
    let attn = if program.little_endian {
        attn.swap_bytes()
    } else {
        attn
    };
    machine.load_words(Ra::new(0xc00), &[attn]).unwrap();
    put(machine.memory(), BASE, &program.image);
    let mut registers = Registers::new(program.entry, 0);
    if program.little_endian {
        registers.msr |= MSR_LE;
    }
    engine.start_instructions(0, Interpreter::new(registers));
    engine.run().unwrap();
    let registers = &engine.interpreter(0).unwrap().registers;
    assert_eq!((registers.pc, registers.srr1 & 0x783f_0000), (0xc04, 0));
    (0..program.dump_bytes / 8)
        .map(|i| {
            machine
                .memory()
                .load_u64(Ra::new(program.dump + 8 * i))
                .unwrap()
        })
        .flat_map(u64::to_be_bytes)
        .collect()
}

fn put(memory: &GuestMemory, at: u64, bytes: &[u8]) {
    for (i, &byte) in bytes.iter().enumerate() {
        memory.store_u8(Ra::new(at + i as u64), byte).unwrap();
    }
}

/// Runs programs in both and compares; how many instructions.
fn compare(emulator: &str, little_endian: bool) -> usize {
    let mut compared = 0;
    for seed in 0.. {
        let program = Program::random(seed, PROGRAM, little_endian);
        let Some(theirs) = under_qemu(emulator, &program.elf()) else {
            eprintln!("skipped: {emulator} is not installed");
            return 0;
        };
        let ours = interpreted(&program);
        assert_eq!(theirs.len(), ours.len());
        compared += program.tested.len();
        if theirs == ours {
            if compared >= INSTRUCTIONS {
                break;
            }
            continue;
        }
        let word = |bytes: &[u8]| -> u64 {
            let bytes = bytes.try_into().unwrap();
            if little_endian {
                u64::from_le_bytes(bytes)
            } else {
                u64::from_be_bytes(bytes)
            }
        };
        for (i, tested) in program.tested.iter().enumerate() {
            let at = |w: usize| i * DUMP_WORDS * 8 + w * 8;
            let state = |of: &[u8]| -> Vec<u64> {
                (0..DUMP_WORDS)
                    .map(|w| word(&of[at(w)..at(w) + 8]))
                    .collect()
            };
            let (before, theirs, ours) = (i.checked_sub(1), state(&theirs), state(&ours));
            assert!(
                theirs == ours,
                "seed {seed}, instruction {i} (after {before:?}): {tested:#010x?}\n{}",
                program::differences(&theirs, &ours)
            );
        }
    }
    eprintln!("{compared} instructions as in {emulator}");
    compared
}

#[test]
fn big_endian_as_qemu_has_it() {
    let compared = compare("qemu-ppc64", false);
    assert!(compared == 0 || compared >= INSTRUCTIONS);
}

#[test]
fn little_endian_as_qemu_has_it() {
    let compared = compare("qemu-ppc64le", true);
    assert!(compared == 0 || compared >= INSTRUCTIONS);
}
