//! `emu probe`.

use crate::args::{LatencyArgs, OutputArgs, ProbeVerb, SensitivityArgs};
use crate::output::{Place, deliver};
use crate::plan::{machine_named, machines_named};
use crate::probe::{latency, sensitivity};
use crate::progress::Bar;
use crate::report::{json, probe as report};
use anyhow::{Result, bail};
use emu_linux::Progress;

/// Probes and reports; always 0 when it finishes.
pub fn probe(verb: &ProbeVerb) -> Result<u8> {
    match verb {
        ProbeVerb::Sensitivity(args) => probe_sensitivity(args),
        ProbeVerb::Latency(args) => probe_latency(args),
    }
}

fn place(output: &OutputArgs) -> Result<Place> {
    match &output.output {
        Some(path) => Place::check(path),
        None => Ok(Place::Stdout),
    }
}

fn probe_sensitivity(args: &SensitivityArgs) -> Result<u8> {
    let place = place(&args.output)?;
    let machines = machines_named(&args.machines, &args.set)?;
    let mut bar = Bar::new("probe sensitivity".to_owned());
    let probed = sensitivity::measure(&machines, &args.figures, &mut |done, total| {
        let total = Some(total);
        bar.update(Progress { done, total });
    });
    // Cleared before anything is printed, an error too.
    drop(bar);
    let probed = probed?;
    if probed
        .machines
        .iter()
        .all(|machine| machine.figures.is_empty())
    {
        bail!(
            "no estimate of these machines begins with `{}`; `emu machine show NAME` prints every figure",
            args.figures
        );
    }
    let told = match args.output.json {
        true => json::pretty(&probed)?,
        false => report::sensitivity(&probed),
    };
    deliver(&[(&place, told.as_str())])?;
    Ok(0)
}

fn probe_latency(args: &LatencyArgs) -> Result<u8> {
    let place = place(&args.output)?;
    let picture = args.svg.as_deref().map(Place::check).transpose()?;
    if let (Some(one), Some(other)) = (place.path(), picture.as_ref().and_then(Place::path))
        && one == other
    {
        bail!("`-o` and `--svg` name the same file; give each its own");
    }
    let mut machine = machine_named(&args.machine)?;
    for change in &args.set {
        machine.set(change)?;
    }
    let mut bar = Bar::new("probe latency".to_owned());
    let probed = latency::measure(&machine, picture.is_some(), &mut |done, total| {
        let total = Some(total);
        bar.update(Progress { done, total });
    });
    // Cleared before anything is printed, an error too.
    drop(bar);
    let probed = probed?;
    let told = match args.output.json {
        true => json::pretty(&probed)?,
        false => report::latency(&probed),
    };
    let drawn = picture
        .as_ref()
        .map(|_| latency::drawn(&probed))
        .transpose()?;
    let mut outputs = vec![(&place, told.as_str())];
    if let (Some(place), Some(svg)) = (&picture, &drawn) {
        outputs.push((place, svg));
    }
    deliver(&outputs)?;
    Ok(0)
}
