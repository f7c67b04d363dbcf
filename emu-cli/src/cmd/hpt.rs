//! `emu hpt`: a hashed page table from a file.

use super::{EXIT_VIOLATION, print};
use crate::args::{AccessKind, Cpu, DumpArgs, HptVerb, LoadArgs, OutputArgs, TableArgs, WalkArgs};
use crate::output::{Place, deliver, stream};
use crate::report::hpt as report;
use crate::report::json;
use crate::report::layout::count;
use anyhow::{Context, Result};
use emu_mmu::{
    Access, AccessState, DuplicateChecker, Ea, HeaderOrder, Mmu, MmuFeatures, MmuGeometry,
};
use serde::Serialize;
use std::io::{BufWriter, Write};

mod table;
use table::Table;

/// Does what a verb asks; the exit code.
pub fn hpt(verb: &HptVerb) -> Result<u8> {
    match verb {
        HptVerb::Stat(args) => stat(args),
        HptVerb::Check(args) => check(args),
        HptVerb::Dump(args) => dump(args),
        HptVerb::Load(args) => load(args),
        HptVerb::Walk(args) => walk(args),
    }
}

/// Delivers a report in the form asked for.
fn told<T: Serialize>(value: &T, text: fn(&T) -> String, output: &OutputArgs) -> Result<()> {
    let place = match &output.output {
        Some(path) => Place::check(path)?,
        None => Place::Stdout,
    };
    let report = if output.json {
        json::pretty(value)?
    } else {
        text(value)
    };
    deliver(&[(&place, &report)])?;
    Ok(())
}

fn stat(args: &TableArgs) -> Result<u8> {
    let table = Table::open(&args.table)?;
    let health = table.hpt.health(&table.memory)?;
    let stat = report::Stat::new(&table.kind, &table.hpt, &health);
    told(&stat, report::stat, &args.output)?;
    Ok(0)
}

fn check(args: &TableArgs) -> Result<u8> {
    let table = Table::open(&args.table)?;
    let (base, groups_log2) = (table.hpt.base(), table.hpt.groups_log2());
    let found = DuplicateChecker::scan(&table.memory, base, groups_log2)?;
    let valid = table.hpt.count_valid(&table.memory)?;
    let checked = report::Checked::new(valid, &found);
    told(&checked, report::checked, &args.output)?;
    Ok(if found.is_empty() { 0 } else { EXIT_VIOLATION })
}

fn dump(args: &DumpArgs) -> Result<u8> {
    let table = Table::open(&args.table)?;
    let Some(path) = &args.stream else {
        let entries = table.hpt.entries(&table.memory);
        let wanted = entries.filter(|entry| {
            entry.as_ref().map_or(true, |(_, e)| {
                e.v.is_valid() && (!args.bolted || e.v.is_bolted())
            })
        });
        stream(wanted.map(|entry| {
            let (index, hpte) = entry?;
            report::entry(index, hpte, args.json)
        }))?;
        return Ok(0);
    };
    let place = Place::check(path)?;
    let mut valid = 0;
    let bytes = place.write_file(|file| {
        let mut out = BufWriter::new(file);
        let order = HeaderOrder::Little;
        valid = table
            .hpt
            .export_stream(&table.memory, &mut out, order, args.bolted)?;
        Ok(out.flush()?)
    })?;
    written(&path.display().to_string(), valid, bytes)
}

fn load(args: &LoadArgs) -> Result<u8> {
    let place = Place::check(&args.output)?;
    let table = Table::open(&args.table)?;
    let bytes = place.write_file(|file| {
        let mut out = BufWriter::new(file);
        for entry in table.hpt.entries(&table.memory) {
            let (_, hpte) = entry?;
            out.write_all(&hpte.v.0.to_be_bytes())?;
            out.write_all(&hpte.r.0.to_be_bytes())?;
        }
        Ok(out.flush()?)
    })?;
    let valid = table.hpt.count_valid(&table.memory)?;
    written(&args.output.display().to_string(), valid, bytes)
}

fn written(name: &str, valid: u64, bytes: u64) -> Result<u8> {
    let valid = count(valid, "valid entry", "valid entries");
    let bytes = count(bytes, "byte", "bytes");
    print(&format!("{name}: {valid}, {bytes}\n"))
}

fn walk(args: &WalkArgs) -> Result<u8> {
    let table = Table::open(&args.table)?;
    let features = match args.cpu {
        Cpu::Ppc970 => MmuFeatures::PPC970,
        Cpu::Power5Plus => MmuFeatures::POWER5_PLUS,
        Cpu::Power8 => MmuFeatures::POWER8,
        Cpu::Power9 => MmuFeatures::POWER9,
    };
    let mut mmu = Mmu::with_features(&MmuGeometry::POWER8, features)?;
    mmu.registers.keys.amr = args.amr;
    mmu.registers.keys.iamr = args.iamr;
    for (rs, rb) in &args.slb {
        let operands = || format!("--slb {rs:#x},{rb:#x}");
        mmu.slbmte(*rs, *rb).with_context(operands)?;
    }
    let access = match args.access {
        AccessKind::Load => Access::Load,
        AccessKind::Store => Access::Store,
        AccessKind::Fetch => Access::Fetch,
    };
    let state = if args.problem_state {
        AccessState::user()
    } else {
        AccessState::kernel()
    };
    let told_of = mmu.explain(&table.memory, &table.hpt, Ea::new(args.ea), access, state)?;
    let walk = report::Walked::new(&told_of, access, state);
    told(&walk, report::walked, &args.output)?;
    Ok(0)
}
