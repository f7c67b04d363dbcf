//! Pointer chases and loops as guest programs, and the guest's clock before and after.
//!
//! Owns the machine they run on: its memory, its hash table, the code. Refuses to know what the profile
//! says of a cost: a cost is read from the clock of the CPU.

use super::LatencyError;
use super::words::{self, counted};
use crate::interp::{Interpreter, MSR_DR, Registers};
use crate::timing::MachineProfile;
use crate::{Clocked, Cycles, Engine, MachineConfig};
use emu_mmu::{Direct, Ea, GuestMemory, Hpt, HpteR, HpteV, PageSize, Ra, SegmentSize, Vpn, Vsid};
use std::collections::BTreeSet;

/// Where the loops lie.
const CODE: u64 = 0x1_0000;
/// Where the hash table lies, or at its size if that is more.
const TABLE: u64 = 1 << 20;
/// From the end of the table to the data, whole pages. Not a multiple of a cache's size, so that the first
/// groups of the table and the first lines of data are in different sets.
const DATA_OFFSET: u64 = 0x5000;
/// Least accesses that a figure is the mean of.
const ACCESSES_MIN: u64 = 1024;
/// Times that a loop without a chase goes round: a whole number of cycles at any rate of instructions.
const TURNS: u64 = 100;
/// R, C and M of a page's entry.
const PAGE_BITS: u64 = 0x190;
/// 4 KB pages of a 256 MB segment.
pub const SEGMENT_PAGES: u64 = 1 << 16;

/// A doubleword of a chase: its effective address, and its place behind the first byte of data.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    pub ea: u64,
    pub at: u64,
}

/// Doublewords that each hold the address of the next, in the order of visits: one at least.
#[derive(Clone, Debug)]
pub struct Chase {
    pub links: Vec<Link>,
    /// Bits that VSIDs keep of `ESID << 20`.
    pub vsid_mask: u64,
}

impl Chase {
    /// The same visits in a random order.
    pub fn shuffled(mut self) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for i in (1..self.links.len()).rev() {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            self.links.swap(i, (state % (i as u64 + 1)) as usize);
        }
        self
    }

    fn vsid(&self, ea: u64) -> Vsid {
        Vsid::new((ea >> 28) << 20 & self.vsid_mask)
    }

    /// The address of a visit, counted from 0 and on through all laps.
    fn address(&self, visit: u64, mode: Mode, data: u64) -> u64 {
        let link = self.links[(visit % self.links.len() as u64) as usize];
        match mode {
            Mode::Real => data + link.at,
            Mode::Translated => link.ea | (data + link.at) & 0xfff,
        }
    }

    /// log2 of the groups of a table in which the pages of this chase lie in the groups of their numbers.
    fn groups_log2(&self) -> u8 {
        let page = |link: &Link| (link.ea >> 12) % SEGMENT_PAGES;
        let last = self.links.iter().map(page).max().unwrap_or(0);
        (last + 1).next_power_of_two().ilog2().clamp(11, 16) as u8
    }
}

/// How data accesses of a chase are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// MSR[DR]=0: at real addresses.
    Real,
    /// MSR[DR]=1: at effective addresses.
    Translated,
}

/// The machine that is probed.
#[derive(Debug)]
pub struct Bench {
    pub profile: MachineProfile,
    /// Cycles of one turn of a loop around nothing.
    turn: f64,
}

impl Bench {
    /// Measures the loop itself, to be taken off.
    pub fn new(profile: &MachineProfile) -> Result<Self, LatencyError> {
        let mut bench = Bench {
            profile: profile.clone(),
            turn: 0.0,
        };
        bench.turn = bench.body(&[])?;
        Ok(bench)
    }

    /// Cycles of a hundred straight-line instructions, as interpreted ones are charged: where they cost
    /// nothing, one each.
    pub fn cycles_per_100(&self) -> u64 {
        match self.profile.costs().cycles_per_100_instructions {
            0 => 100,
            cycles => cycles,
        }
    }

    /// Cycles of one turn of a loop around `body`, in real mode, without those of the loop. r3 is the
    /// address of a doubleword, and stays.
    pub fn body(&self, body: &[u32]) -> Result<f64, LatencyError> {
        let none = Chase {
            links: vec![Link { ea: 0, at: 0 }],
            vsid_mask: 0,
        };
        let run = |turns| self.run(&counted(body), &none, Mode::Real, turns);
        let cycles = run(3 * TURNS)? - run(TURNS)?;
        Ok(cycles.get() as f64 / (2 * TURNS) as f64 - self.turn)
    }

    /// Cycles of one access of a chase, without those of the loop, when everything is where it stays.
    /// `warm` laps come first.
    pub fn access(&self, chase: &Chase, mode: Mode, warm: u64) -> Result<f64, LatencyError> {
        let lap = chase.links.len() as u64;
        let laps = ACCESSES_MIN.div_ceil(lap);
        let words = counted(&[words::ld(3, 3)]);
        let run = |laps| self.run(&words, chase, mode, lap * laps);
        let cycles = run(warm + laps)? - run(warm)?;
        Ok(cycles.get() as f64 / (lap * laps) as f64 - self.turn)
    }

    /// What translation adds to one access of a chase.
    pub fn added(&self, chase: &Chase) -> Result<f64, LatencyError> {
        Ok(self.access(chase, Mode::Translated, 2)? - self.access(chase, Mode::Real, 2)?)
    }

    /// Runs a program with that count in CTR on a machine that has just been built: its clock at the end.
    fn run(
        &self,
        words: &[u32],
        chase: &Chase,
        mode: Mode,
        count: u64,
    ) -> Result<Cycles, LatencyError> {
        let groups_log2 = chase.groups_log2();
        let table_bytes = 128 << groups_log2;
        let table = TABLE.max(table_bytes);
        let data = table + table_bytes + DATA_OFFSET;
        let last = chase.links.iter().map(|link| link.at).max().unwrap_or(0);
        let hpt = Hpt::new(Ra::new(table), groups_log2)?;
        let config = MachineConfig {
            cpus: 1,
            memory_bytes: (data + last + 8).next_multiple_of(1 << 16),
            hpt,
            geometry: self.profile.geometry(),
            costs: self.profile.costs(),
            quantum: Cycles::new(1 << 40),
        };
        let mut engine = Engine::new(config, Box::new(Clocked::new()))?;
        let machine = engine.machine();
        machine.load_words(Ra::new(words::SEGMENT_VECTOR), &words::SEGMENT_HANDLER)?;
        machine.load_words(Ra::new(CODE), words)?;
        link(machine.memory(), chase, mode, data)?;
        let address = |visit: u64| chase.address(visit, mode, data);
        let mut registers = Registers::new(CODE, 0);
        registers.ctr = count;
        registers.gpr[3] = address(0);
        registers.gpr[words::SLB_NEXT] = 0;
        registers.gpr[words::SLB_ENTRIES] = self.profile.costs().slb_entries;
        registers.gpr[words::VSID_MASK] = chase.vsid_mask << 12;
        if mode == Mode::Translated {
            registers.msr |= MSR_DR;
            map(machine.memory(), &hpt, chase, data)?;
        }
        engine.start_instructions(0, Interpreter::new(registers));
        let clock = engine.run()?.cpus[0].clock;
        let last = engine.interpreter(0).map(|guest| guest.registers.gpr[3]);
        match last == Some(address(count)) {
            true => Ok(clock),
            false => Err(LatencyError::Astray),
        }
    }
}

/// Writes the address of the next link into each.
fn link(memory: &GuestMemory, chase: &Chase, mode: Mode, data: u64) -> Result<(), LatencyError> {
    for (link, next) in chase.links.iter().zip(1..) {
        let next = chase.address(next, mode, data);
        memory.store_u64(Ra::new(data + link.at), next)?;
    }
    Ok(())
}

/// Puts an entry for each page of a chase into the table.
fn map(memory: &GuestMemory, hpt: &Hpt, chase: &Chase, data: u64) -> Result<(), LatencyError> {
    let (segment, page) = (SegmentSize::S256M, PageSize::P4K);
    let mut mapped = BTreeSet::new();
    let mut nobody = |_| ();
    let mut direct = Direct::new(memory, &mut nobody);
    for link in &chase.links {
        let vpn = Vpn::from_ea(chase.vsid(link.ea), Ea::new(link.ea), segment);
        if !mapped.insert(vpn) {
            continue;
        }
        let v = HpteV::new(vpn, segment, page);
        let r = HpteR((data + link.at) & !0xfff | PAGE_BITS);
        let hash = vpn.hash(segment, page);
        let mut placed = hpt.insert(&mut direct, hpt.primary(hash), v, r, false)?;
        if placed.is_none() {
            placed = hpt.insert(&mut direct, hpt.secondary(hash), v, r, true)?;
        }
        placed.ok_or(LatencyError::TableFull)?;
    }
    Ok(())
}
