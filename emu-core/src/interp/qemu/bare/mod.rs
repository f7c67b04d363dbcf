//! The interpreter against a bare machine under QEMU: the same image runs in hypervisor state on both, with a
//! page table, SLB and handlers of its own, and the state after each unit of a few instructions is the same:
//! registers, where it interrupted to and why. At the end the page table is the same too, R and C with it.
//!
//! QEMU's memory is a file, which is read when the program has said in memory that it has ended. Skipped
//! where `qemu-system-ppc64` is not installed.

mod draw;
mod program;

use crate::interp::{Interpreter, Registers};
use crate::{Clocked, Engine, MachineConfig};
use emu_mmu::{GuestMemory, Hpt, Ra};
use program::{
    ALLOWS_TAR, DSISR, DUMP_WORDS, DUMPS, FLAG, IMAGE_BYTES, LAST, MEMORY_BYTES, Program, TABLE,
};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const EMULATOR: &str = "qemu-system-ppc64";
/// Units of a program.
const UNITS: usize = 10_000;
const PROGRAMS: u64 = 2;
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with what it was started for.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn read(path: &Path, at: u64, bytes: usize) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    let mut data = vec![0; bytes];
    file.read_exact(&mut data)?;
    Ok(data)
}

/// The states and the page table after the program under QEMU; `None` if it is not installed.
fn under_qemu(image: &[u8], dumps: usize, table: usize) -> Option<(Vec<u8>, Vec<u8>)> {
    let folder = tempfile::tempdir().unwrap();
    let (firmware, ram) = (folder.path().join("image"), folder.path().join("ram"));
    std::fs::write(&firmware, image).unwrap();
    let mut command = Command::new(EMULATOR);
    command.args(["-M", "powernv8,memory-backend=ram", "-cpu", "power8_v2.0"]);
    command.args(["-m", "1G", "-nodefaults", "-display", "none", "-object"]);
    let path = ram.display();
    command.arg(format!(
        "memory-backend-file,id=ram,size=1G,share=on,mem-path={path}"
    ));
    command.args(["-serial", "none", "-monitor", "none", "-bios"]);
    command
        .arg(&firmware)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut qemu = match command.spawn() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
        child => Running(child.unwrap()),
    };
    let began = Instant::now();
    while !read(&ram, FLAG, 8).is_ok_and(|flag| flag != [0; 8]) {
        let ended = qemu.0.try_wait().unwrap();
        assert!(ended.is_none(), "{EMULATOR}: {ended:?}");
        assert!(
            began.elapsed() < PATIENCE,
            "the program does not end under {EMULATOR}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Some((
        read(&ram, DUMPS, dumps).unwrap(),
        read(&ram, TABLE, table).unwrap(),
    ))
}

fn bytes_of(memory: &GuestMemory, at: u64, bytes: usize) -> Vec<u8> {
    let words = (at..at + bytes as u64).step_by(8);
    words
        .flat_map(|at| memory.load_u64(Ra::new(at)).unwrap().to_be_bytes())
        .collect()
}

/// Compares a program; how many units, 0 if QEMU is not there.
fn compare(seed: u64) -> usize {
    let hpt = Hpt::new(Ra::new(TABLE), 11).unwrap();
    let config = MachineConfig {
        memory_bytes: MEMORY_BYTES,
        hpt,
        ..MachineConfig::small_test()
    };
    let mut engine = Engine::new(config, Box::new(Clocked::new())).unwrap();
    let machine = engine.machine().clone();
    let memory = machine.memory();
    let program = Program::random(seed, UNITS, memory);
    let image = bytes_of(memory, 0, IMAGE_BYTES as usize);
    let (dumps, table) = (UNITS * DUMP_WORDS * 8, hpt.size_bytes() as usize);
    let Some((theirs, their_table)) = under_qemu(&image, dumps, table) else {
        eprintln!("skipped: {EMULATOR} is not installed");
        return 0;
    };
    // nop and attn.
    machine
        .load_words(Ra::new(ALLOWS_TAR), &[0x6000_0000])
        .unwrap();
    machine.load_words(Ra::new(LAST), &[0x200]).unwrap();
    engine.start_instructions(0, Interpreter::new(Registers::new(program::ENTRY, 0)));
    engine.run().unwrap();
    let ours = bytes_of(memory, DUMPS, dumps);
    for (i, unit) in program.units.iter().enumerate() {
        let state = |of: &[u8]| -> Vec<u64> {
            let here = &of[i * DUMP_WORDS * 8..][..DUMP_WORDS * 8];
            let words = here.chunks_exact(8);
            let mut state: Vec<u64> = words
                .map(|word| u64::from_be_bytes(word.try_into().unwrap()))
                .collect();
            // No CPU of these sets it at an alignment interrupt (Linux 6.1 CPU_FTR_NODSISRALIGN).
            if state[0] == 0x600 {
                state[DSISR] = 0;
            }
            state
        };
        let (theirs, ours) = (state(&theirs), state(&ours));
        assert!(
            theirs == ours,
            "seed {seed}, unit {i} at {:#x} with MSR {:#x}: {:#010x?}\n{}",
            unit.at,
            unit.msr,
            unit.words,
            program::differences(&theirs, &ours)
        );
    }
    assert!(
        their_table == bytes_of(memory, TABLE, table),
        "seed {seed}: R and C"
    );
    let words: usize = program.units.iter().map(|unit| unit.words.len()).sum();
    eprintln!("{UNITS} units of {words} words as in {EMULATOR}");
    UNITS
}

#[test]
fn a_bare_machine_as_qemu_has_it() {
    for seed in 0..PROGRAMS {
        let compared = compare(seed);
        assert!(compared == 0 || compared == UNITS);
    }
}
