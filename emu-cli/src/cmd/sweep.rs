//! `emu sweep`.

use crate::args::{SweepArgs, SweepVerb, WorkArgs};
use crate::bench::curves::{Axis, Panel, svg_of_panels};
use crate::output::{Place, deliver};
use crate::plan::{machines_named, policies_named};
use crate::progress::Bar;
use crate::report::{json, sweep as report};
use crate::sweep::{self, Kind, Plan, Report};
use anyhow::{Result, bail};
use emu_linux::Progress;

/// Runs and reports; always 0 when it finishes.
pub fn sweep(verb: &SweepVerb) -> Result<u8> {
    let sizes = |kind, sizes: &[u64], cpus, work: &WorkArgs, args| {
        let plan = plan(kind, args, sizes.iter().copied())?;
        done(args, with_work(Plan { cpus, ..plan }, work))
    };
    match verb {
        SweepVerb::Batch(a) => sizes(Kind::Batch, &a.batch_sizes, a.cpus, &a.work, &a.sweep),
        SweepVerb::PreemptOff(a) => {
            sizes(Kind::PreemptOff, &a.batch_sizes, a.cpus, &a.work, &a.sweep)
        }
        SweepVerb::Scope(a) => sizes(Kind::Scope, &a.batch_sizes, a.cpus, &a.work, &a.sweep),
        SweepVerb::Cpus(a) => {
            let counts = a.cpu_counts.iter().copied().map(u64::from);
            let plan = plan(Kind::Cpus, &a.sweep, counts)?;
            let batch_size = a.batch_size;
            let work = WorkArgs {
                pages: a.pages,
                operations: a.operations,
            };
            done(&a.sweep, with_work(Plan { batch_size, ..plan }, &work))
        }
        SweepVerb::Seed(a) => {
            let plan = plan(Kind::Seed, &a.sweep, 1..=a.seeds)?;
            let cpus = a.cpus;
            done(&a.sweep, Plan { cpus, ..plan })
        }
    }
}

fn plan(kind: Kind, args: &SweepArgs, values: impl Iterator<Item = u64>) -> Result<Plan> {
    let mut values: Vec<u64> = values.collect();
    values.sort_unstable();
    values.dedup();
    let policies = policies_named(&args.policies)?;
    Ok(Plan {
        kind,
        policies: policies.iter().map(|policy| policy.name).collect(),
        machines: machines_named(&args.machines, &args.set)?,
        kernel: args.kernel,
        values,
        pages: None,
        operations: None,
        batch_size: emu_linux::report::BATCH_ENTRIES,
        cpus: 1,
    })
}

fn with_work(plan: Plan, work: &WorkArgs) -> Plan {
    Plan {
        pages: Some(work.pages),
        operations: Some(work.operations),
        ..plan
    }
}

fn done(args: &SweepArgs, plan: Plan) -> Result<u8> {
    let place = match &args.output.output {
        Some(path) => Place::check(path)?,
        None => Place::Stdout,
    };
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    if let (Some(one), Some(other)) = (place.path(), picture.as_ref().and_then(Place::path))
        && one == other
    {
        bail!("`-o` and `--svg` name the same file; give each its own");
    }
    let mut bar = Bar::new(format!("sweep {}", plan.kind.name()));
    let swept = sweep::sweep(&plan, &mut |done, total| {
        let total = Some(total);
        bar.update(Progress { done, total });
    });
    // Cleared before anything is printed, an error too.
    drop(bar);
    let swept = swept?;
    let told = match args.output.json {
        true => json::pretty(&swept)?,
        false => report::text(&swept),
    };
    let drawn = picture.as_ref().map(|_| drawn(&swept)).transpose()?;
    let mut outputs = vec![(&place, told.as_str())];
    if let (Some(place), Some(svg)) = (&picture, &drawn) {
        outputs.push((place, svg));
    }
    deliver(&outputs)?;
    Ok(0)
}

fn drawn(swept: &Report) -> Result<String> {
    let panels = swept.curves().into_iter().map(|(machine, curves)| Panel {
        title: format!(
            "{machine}: {} by {}",
            swept.kind.figure(),
            swept.kind.over()
        ),
        curves,
    });
    let panels: Vec<Panel> = panels.collect();
    svg_of_panels(&panels, Axis::Count(swept.kind.over()), swept.kind.figure())
}
