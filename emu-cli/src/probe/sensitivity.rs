//! `emu probe sensitivity`: each estimate halved and doubled, and what becomes of the headline ratios.

use super::headline::{HEADLINES, ratios};
use anyhow::Result;
use emu_linux::MachineProfile;
use serde::Serialize;
use std::collections::BTreeMap;

/// The report.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Version of this document's keys.
    pub schema: &'static str,
    /// What each ratio is.
    pub headlines: BTreeMap<&'static str, &'static str>,
    /// The machines.
    pub machines: Vec<Machine>,
}

/// One machine.
#[derive(Debug, Serialize)]
pub struct Machine {
    /// Its name.
    pub machine: String,
    /// Ratios with the figures as they are.
    pub ratios: Ratios,
    /// For each ratio the least and the greatest that one changed figure makes of it.
    pub ranges: BTreeMap<&'static str, Range>,
    /// Each estimate, that which moves a ratio furthest first.
    pub figures: Vec<Varied>,
}

/// A ratio by its key.
pub type Ratios = BTreeMap<&'static str, Option<f64>>;

/// How far one changed figure moves a ratio.
#[derive(Clone, Debug, Serialize)]
pub struct Range {
    /// The least.
    pub least: f64,
    /// The figure that makes it so.
    pub least_by: String,
    /// The greatest.
    pub greatest: f64,
    /// The figure that makes it so.
    pub greatest_by: String,
}

/// One estimate.
#[derive(Debug, Serialize)]
pub struct Varied {
    /// Path of the figure.
    pub path: String,
    /// Its value.
    pub value: u64,
    /// What its source says.
    pub source: String,
    /// Ratios with half of it; none where the machine cannot have that, or the run failed.
    pub halved: Option<Ratios>,
    /// Ratios with twice as much.
    pub doubled: Option<Ratios>,
    /// Why runs failed, if any did.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<String>,
    /// The furthest that any ratio moves either way, as a part of it.
    pub moves_most: f64,
}

fn named(values: Vec<Option<f64>>) -> Ratios {
    HEADLINES.iter().map(|h| h.name).zip(values).collect()
}

/// Estimates of a machine that are not zero, with path, value and source.
fn estimates(machine: &MachineProfile, prefix: &str) -> Vec<(String, u64, String)> {
    let figures = machine
        .figures()
        .map(|(key, figure)| (key.path.to_owned(), figure));
    let functions = machine
        .functions()
        .map(|(name, figure)| (format!("functions.{name}"), figure));
    let all = figures.chain(functions);
    let chosen = all.filter(|(path, figure)| {
        figure.is_estimate() && figure.value > 0 && path.starts_with(prefix)
    });
    chosen
        .map(|(path, figure)| (path, figure.value, figure.source.clone()))
        .collect()
}

/// The ratios with one figure changed; none where it is out of its range, or where a run failed: then
/// `errors` says why.
fn changed(
    machine: &MachineProfile,
    path: &str,
    value: u64,
    errors: &mut Vec<String>,
) -> Option<Ratios> {
    let mut machine = machine.clone();
    let assignment = format!("{path}={value}");
    machine.set(&assignment).ok()?;
    match ratios(&machine) {
        Ok(ratios) => Some(named(ratios)),
        Err(error) => {
            errors.push(format!("{assignment}: {error:#}"));
            None
        }
    }
}

fn moves(base: &Ratios, varied: &Option<Ratios>) -> f64 {
    let Some(varied) = varied else { return 0.0 };
    let each = base.iter().filter_map(|(name, base)| {
        let (base, now) = ((*base)?, (*varied.get(name)?)?);
        Some((now / base - 1.0).abs())
    });
    each.fold(0.0, f64::max)
}

/// Measures; `step` is told before each figure how many are done, and of how many.
///
/// # Errors
/// A run that was refused.
pub fn measure(
    machines: &[MachineProfile],
    prefix: &str,
    step: &mut dyn FnMut(u64, u64),
) -> Result<Report> {
    let all: Vec<_> = machines.iter().map(|m| estimates(m, prefix)).collect();
    let total = all.iter().map(Vec::len).sum::<usize>() as u64;
    let (mut done, mut measured) = (0, Vec::new());
    for (machine, estimates) in machines.iter().zip(all) {
        let base = named(ratios(machine)?);
        let mut figures = Vec::with_capacity(estimates.len());
        for (path, value, source) in estimates {
            step(done, total);
            done += 1;
            let mut errors = Vec::new();
            let halved = changed(machine, &path, value / 2, &mut errors);
            let doubled = changed(machine, &path, value * 2, &mut errors);
            let moves_most = moves(&base, &halved).max(moves(&base, &doubled));
            figures.push(Varied {
                path,
                value,
                source,
                halved,
                doubled,
                errors,
                moves_most,
            });
        }
        figures.sort_by(|a, b| b.moves_most.total_cmp(&a.moves_most));
        measured.push(Machine {
            machine: machine.name().to_owned(),
            ranges: ranges(&base, &figures),
            ratios: base,
            figures,
        });
    }
    Ok(Report {
        schema: "ppc-mmu-emu/probe-sensitivity/1",
        headlines: HEADLINES.iter().map(|h| (h.name, h.about)).collect(),
        machines: measured,
    })
}

fn ranges(base: &Ratios, figures: &[Varied]) -> BTreeMap<&'static str, Range> {
    let range = |(&name, base): (&&'static str, &Option<f64>)| {
        let base = (*base)?;
        let mut range = Range {
            least: base,
            least_by: String::new(),
            greatest: base,
            greatest_by: String::new(),
        };
        for figure in figures {
            let both = [("half of ", &figure.halved), ("twice ", &figure.doubled)];
            for (word, varied) in both {
                let Some(now) = varied.as_ref().and_then(|ratios| *ratios.get(name)?) else {
                    continue;
                };
                let by = format!("{word}{}", figure.path);
                if now < range.least {
                    (range.least, range.least_by) = (now, by);
                } else if now > range.greatest {
                    (range.greatest, range.greatest_by) = (now, by);
                }
            }
        }
        Some((name, range))
    };
    base.iter().filter_map(range).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_fails_is_told_and_a_figure_out_of_range_is_not() {
        let machine = MachineProfile::builtin("power8").unwrap();
        let mut errors = Vec::new();
        assert_eq!(
            changed(&machine, "features.pages_64k", 2, &mut errors),
            None
        );
        assert!(errors.is_empty(), "{errors:?}");
        // In its range, but no number of sets that can be built.
        assert_eq!(changed(&machine, "geometry.tlb_sets", 3, &mut errors), None);
        assert!(
            errors[0].starts_with("geometry.tlb_sets=3: ") && errors[0].contains("power of two"),
            "{errors:?}"
        );
    }
}
