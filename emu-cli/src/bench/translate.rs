//! `emu bench translate`: effective to real addresses, by the pages in use and by host threads.

use super::curves::Curve;
use super::host::Host;
use super::hpt::table::{Mps, PAGES, random};
use super::spread::{Figures, Spread};
use anyhow::{Result, ensure};
use emu_mmu::{
    Access, AccessState, Ea, GuestMemory, Hpt, HpteR, Mapping, Mmu, MmuGeometry, Ra, SlbEntry, Vpn,
    Vsid,
};
use serde::Serialize;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::Instant;

/// Pages in use: within the ERAT, within the TLB, and beyond both (POWER8 has 64 and 2,048 entries).
const PAGES_IN_USE: [u64; 6] = [16, 48, 256, 1024, 1 << 14, 1 << 16];
/// Pages of the ratio of threads.
const PAGES_OF_THREADS: u64 = 1 << 14;

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rounds of each figure.
    pub rounds: usize,
    /// Translations of one measurement, each thread.
    pub translations: u64,
}

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document's keys.
    pub schema: &'static str,
    /// The machine.
    pub host: Host,
    /// Rounds.
    pub rounds: usize,
    /// Translations of one measurement, each thread.
    pub translations: u64,
    /// Rates by pages in use, and what more threads gain.
    #[serde(flatten)]
    pub figures: BTreeMap<String, Spread>,
    /// The medians over pages in use.
    pub curves: Vec<Curve>,
}

/// Measures; `step` is told before each step how many are done, and of how many.
pub fn measure(options: Options, step: &mut dyn FnMut(u64, u64)) -> Result<Report> {
    let host = Host::look(None);
    let threads: Vec<usize> = (2..=host.cpus).collect();
    let total = (options.rounds * (PAGES_IN_USE.len() + threads.len())) as u64;
    let mut figures = Figures::default();
    let mut done = 0;
    let mut next = || {
        step(done, total);
        done += 1;
    };
    for _ in 0..options.rounds {
        for pages in PAGES_IN_USE {
            next();
            let rate = rate(1, pages, options.translations)?;
            figures.add(&format!("translate_{pages}_pages_mps"), rate);
        }
        for &threads in &threads {
            next();
            let one = rate(1, PAGES_OF_THREADS, options.translations)?;
            let all = rate(threads, PAGES_OF_THREADS, options.translations)?;
            figures.add(&format!("translate_threads{threads}_scaling"), all / one);
        }
    }
    let figures = figures.spreads();
    let mut curve = Curve::new("translate".to_owned());
    for pages in PAGES_IN_USE {
        curve.add(
            pages,
            figures[&format!("translate_{pages}_pages_mps")].median,
        );
    }
    Ok(Report {
        schema: "ppc-mmu-emu/bench-translate/1",
        host,
        rounds: options.rounds,
        translations: options.translations,
        figures,
        curves: vec![curve],
    })
}

/// Translates random addresses of `pages` pages on `threads` CPUs of their own MMU over one table;
/// millions a second.
pub fn rate(threads: usize, pages: u64, translations: u64) -> Result<Mps> {
    let memory = GuestMemory::new(64 << 20)?;
    memory.prefer_huge_pages(Ra::new(0), 64 << 20);
    let hpt = Hpt::new(Ra::new(4 << 20), 15)?;
    let ea = Ea::new(0xd000_0000_0000_0000);
    let segment = SlbEntry::kernel(ea, Vsid::new(0xeb_71b0), PAGES.segment, PAGES.base);
    let mappings: Vec<Mapping> = (0..pages)
        .map(|page| {
            let vpn = Vpn::from_ea(segment.vsid, ea + (page << 12), PAGES.segment);
            let ra = Ra::new((page << 12) & 0x3ff_ffff);
            let r = HpteR::new(ra, PAGES.base, PAGES.base).with_flags(0x194);
            Mapping { vpn, r }
        })
        .collect();
    hpt.shared(&memory)?.insert(PAGES, &mappings, |_, _| ());
    let cpu = |number: u64| -> Result<()> {
        let mut mmu = Mmu::new(&MmuGeometry::POWER8)?;
        mmu.slbmte(segment.rs(), segment.rb(1))?;
        let (mut state, mut sum, mut faults) = (number, 0, 0u64);
        for _ in 0..translations {
            let at = ea + ((random(&mut state) % pages) << 12);
            let kernel = AccessState::kernel();
            match mmu.translate(&memory, &hpt, at, Access::Load, kernel, &mut ()) {
                Ok(ra) => sum ^= ra.get(),
                Err(_) => faults += 1,
            }
        }
        black_box(sum);
        ensure!(faults == 0, "{faults} translations faulted");
        Ok(())
    };
    let began = Instant::now();
    std::thread::scope(|scope| {
        let cpus: Vec<_> = (0..threads as u64)
            .map(|number| scope.spawn(move || cpu(number)))
            .collect();
        cpus.into_iter().try_for_each(|cpu| match cpu.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        })
    })?;
    Ok(threads as f64 * translations as f64 / began.elapsed().as_secs_f64() / 1e6)
}
