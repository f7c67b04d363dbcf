//! `emu probe`.

use crate::args::{OutputArgs, ProbeVerb, SensitivityArgs};
use crate::output::{Place, deliver};
use crate::plan::machines_named;
use crate::probe::sensitivity;
use crate::progress::Bar;
use crate::report::{json, probe as report};
use anyhow::{Result, bail};
use emu_linux::Progress;

/// Probes and reports; always 0 when it finishes.
pub fn probe(verb: &ProbeVerb) -> Result<u8> {
    match verb {
        ProbeVerb::Sensitivity(args) => probe_sensitivity(args),
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
