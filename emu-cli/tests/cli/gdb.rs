//! `emu exec --gdb`, by a client that speaks the remote protocol over a loopback socket.

use super::refused;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The address of the guest's code: its entry.
const ENTRY: u64 = 0x1_0000;
/// bl to the program behind the six words of the entry that set up stack and TOC, and a few more.
const CALL: u64 = 0x1_0020;

fn lock() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../traces/guest/lock.elf")
}

/// The command, and a connection to it.
struct Session {
    emu: Child,
    errors: BufReader<std::process::ChildStderr>,
    gdb: TcpStream,
}

impl Session {
    fn begin(flags: &[&str]) -> Session {
        let mut emu = Command::new(env!("CARGO_BIN_EXE_emu"));
        emu.arg("exec").arg(lock()).arg("--gdb=127.0.0.1:0");
        emu.args(flags).stdin(Stdio::null());
        let emu = emu.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut emu = emu.spawn().unwrap();
        let mut errors = BufReader::new(emu.stderr.take().unwrap());
        let mut line = String::new();
        errors.read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap();
        let gdb = TcpStream::connect(address).unwrap();
        gdb.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut session = Session { emu, errors, gdb };
        let features =
            session.ask("qSupported:swbreak+;hwbreak+;vContSupported+;xmlRegisters=i386");
        assert!(features.contains("qXfer:features:read+"), "{features}");
        assert_eq!(session.ask("QStartNoAckMode"), "OK");
        session
    }

    fn tell(&mut self, packet: &str) {
        let sum = packet.bytes().fold(0, u8::wrapping_add);
        write!(self.gdb, "${packet}#{sum:02x}").unwrap();
    }

    /// The next packet, with repeated characters written out.
    fn hear(&mut self) -> String {
        let mut byte = [0];
        let mut next = || {
            self.gdb.read_exact(&mut byte).unwrap();
            byte[0]
        };
        while next() != b'$' {}
        let mut text = Vec::new();
        loop {
            match next() {
                b'#' => break,
                b'*' => {
                    let times = next() - 29;
                    let last = *text.last().unwrap();
                    text.extend(std::iter::repeat_n(last, usize::from(times)));
                }
                byte => text.push(byte),
            }
        }
        // The checksum.
        let _ = [next(), next()];
        String::from_utf8(text).unwrap()
    }

    fn ask(&mut self, packet: &str) -> String {
        self.tell(packet);
        let answer = self.hear();
        // Only acknowledged until `QStartNoAckMode`.
        self.gdb.write_all(b"+").unwrap();
        answer
    }

    /// Words of 8 bytes from the registers: r0 to r31, the program counter, ...
    fn register(&mut self, number: usize) -> u64 {
        let all = self.ask("g");
        u64::from_str_radix(&all[16 * number..][..16], 16).unwrap()
    }

    fn pc(&mut self) -> u64 {
        self.register(32)
    }

    /// What the command prints until it ends, on standard output and error, and its exit code.
    fn end(mut self) -> (Option<i32>, String, String) {
        let (mut said, mut printed) = (String::new(), String::new());
        self.errors.read_to_string(&mut said).unwrap();
        let mut output = self.emu.stdout.take().unwrap();
        output.read_to_string(&mut printed).unwrap();
        (self.emu.wait().unwrap().code(), printed, said)
    }
}

#[test]
fn registers_memory_steps_and_breakpoints() {
    let mut s = Session::begin(&["--cpus", "2"]);
    let xml = s.ask("qXfer:features:read:target.xml:0,fff");
    assert!(xml.contains("powerpc:common64"), "{xml}");
    assert!(s.ask("?").starts_with("T05"));
    assert_eq!((s.pc(), s.register(4)), (ENTRY, 2));
    assert_eq!(s.ask("m10000,8"), "3c20000138210420");
    assert!(s.ask("mfffffffff0,8").starts_with('E'), "outside memory");
    // One CPU alone, by one instruction: lis r1,1. The thread of CPU 1 is 2.
    assert_eq!(s.ask("vCont;s:1"), "T05thread:01;");
    assert_eq!((s.pc(), s.register(1)), (ENTRY + 4, 0x1_0000));
    assert_eq!(s.ask("Hg2"), "OK");
    assert_eq!((s.pc(), s.register(3)), (ENTRY, 1), "the other stands");
    // The words of a breakpoint are never in memory; each CPU comes to it.
    assert_eq!(s.ask(&format!("Z0,{CALL:x},4")), "OK");
    let mut threads = [s.ask("vCont;c"), s.ask("vCont;c")];
    threads.sort();
    assert_eq!(
        threads,
        ["T05thread:01;swbreak:;", "T05thread:02;swbreak:;"]
    );
    assert_eq!((s.pc(), s.ask("m10020,4")), (CALL, "48000079".to_owned()));
    assert_eq!(s.ask(&format!("z0,{CALL:x},4")), "OK");
    // Registers and memory are written: the CPU goes on at a word that halts with r3.
    let mut all = s.ask("g");
    all.replace_range(16 * 3..16 * 4, "0000000000000001");
    all.replace_range(16 * 32..16 * 33, "0000000000020000");
    assert_eq!(s.ask(&format!("G{all}")), "OK");
    assert_eq!(s.ask("M20000,4:00000200"), "OK");
    assert_eq!((s.pc(), s.register(3)), (0x2_0000, 1));
    assert_eq!(s.ask("vCont;c"), "W01");
    let (code, printed, said) = s.end();
    assert_eq!((code, said.as_str()), (Some(1), ""));
    assert!(printed.starts_with("halted with 1"), "{printed}");
}

#[test]
fn interrupt_detach_and_kill() {
    // A loop that nothing ends: the program's word for a branch to itself.
    let mut s = Session::begin(&[]);
    assert_eq!(s.ask("X10000,4:H\0\0\0"), "OK");
    s.tell("c");
    std::thread::sleep(Duration::from_millis(20));
    s.gdb.write_all(&[3]).unwrap();
    assert!(s.hear().starts_with("S02"), "SIGINT");
    assert_eq!(s.pc(), ENTRY);
    s.tell("k");
    let (code, printed, _) = s.end();
    assert_eq!(code, Some(2));
    assert!(
        printed.starts_with("stopped: gdb ended the run"),
        "{printed}"
    );
    // Let go, it runs to its end.
    let mut s = Session::begin(&["--cpus", "2"]);
    assert_eq!(s.ask(&format!("Z0,{CALL:x},4")), "OK");
    assert!(s.ask("c").contains("swbreak"));
    assert_eq!(s.ask("D"), "OK");
    let (code, printed, _) = s.end();
    assert_eq!(code, Some(0));
    assert!(
        printed.starts_with("counted 4000\nhalted with 0"),
        "{printed}"
    );
}

#[test]
fn a_cpu_that_cannot_go_on_can_be_looked_into() {
    let mut s = Session::begin(&[]);
    // No instruction, and none at the vector it interrupts to.
    assert_eq!(s.ask("M700,4:00000000"), "OK");
    assert_eq!(s.ask("M10000,4:00000000"), "OK");
    assert_eq!(s.ask("vCont;c"), "T06thread:01;");
    assert_eq!(s.pc(), 0x700);
    s.tell("k");
    let (code, _, said) = s.end();
    assert_eq!(code, Some(2));
    assert!(said.contains("interrupts to itself"), "{said}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (path, taken) = (lock(), TcpListener::bind("127.0.0.1:0").unwrap());
    let path = path.to_str().unwrap();
    let flag = format!("--gdb={}", taken.local_addr().unwrap());
    let said = refused(&["exec", path, &flag]);
    assert!(said.contains("cannot listen for gdb"), "{said}");
    let said = refused(&["exec", path, "--gdb", "--mode", "threads"]);
    assert!(said.contains("--mode threads"), "{said}");
    let said = refused(&["exec", path, "--gdb=nowhere"]);
    assert!(said.contains("nowhere"), "{said}");
}

#[test]
fn a_connection_that_breaks_ends_the_run() {
    let Session { emu, errors, gdb } = Session::begin(&[]);
    drop(gdb);
    let output = emu.wait_with_output().unwrap();
    let said: Vec<String> = errors.lines().map_while(Result::ok).collect();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said.concat().contains("the connection to gdb broke"),
        "{said:?}"
    );
}
