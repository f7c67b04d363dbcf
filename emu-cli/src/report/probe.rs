//! `emu probe` as text.

use super::layout::{grouped, table, wrap};
use crate::probe::headline::HEADLINES;
use crate::probe::latency;
use crate::probe::sensitivity::{Machine, Ratios, Report};

/// Figures of a machine that are printed; JSON has them all.
const FIGURES_MAX: usize = 15;

/// `emu probe latency`.
pub fn latency(report: &latency::Report) -> String {
    let rows = report.plateaus.iter().map(|row| {
        // Tenths of a percent; never -0.
        let off = |measured: f64| ((measured / row.profile - 1.0) * 1000.0).round() / 10.0 + 0.0;
        let off = row.measured.filter(|_| row.profile > 0.0).map(off);
        vec![
            row.name.to_owned(),
            row.measured.map_or("-".to_owned(), |m| format!("{m:.1}")),
            format!("{:.1}", row.profile),
            off.map_or("-".to_owned(), |off| format!("{off:+.1}")),
            row.unit.to_owned(),
            shortened(&row.source),
        ]
    });
    let head = [
        "",
        "measured",
        "profile",
        "% off",
        "",
        "figures of the profile",
    ];
    let mut text = format!("{}\n{}", report.machine, table(&head, rows, "lrrrll"));
    if report.plateaus.iter().any(|row| row.measured.is_none()) {
        text.push_str("-: no footprint shows it alone on a machine of this shape.\n");
    }
    text
}

/// The figures of a source by their names; JSON has the paths, the values and where they are from.
fn shortened(source: &str) -> String {
    let mut depth = 0;
    let outside = |c: &char| {
        depth += match c {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0 && *c != ')'
    };
    let kept: String = source.chars().filter(outside).collect();
    let word = |word: &str| match word.rsplit_once('.') {
        Some((_, name)) if name != "latency" => name.to_owned(),
        _ => word.to_owned(),
    };
    let plain = |part: &str| match part.contains("instructions") {
        true => "handler".to_owned(),
        false => part.split_whitespace().next().map_or(String::new(), word),
    };
    let product = |sum: &str| sum.split(" * ").map(plain).collect::<Vec<_>>().join(" * ");
    kept.split(" + ")
        .map(product)
        .collect::<Vec<_>>()
        .join(" + ")
}

/// `emu probe sensitivity`.
pub fn sensitivity(report: &Report) -> String {
    let mut text = String::new();
    for (headline, number) in HEADLINES.iter().zip(1..) {
        let first = format!("{number}  {}: ", headline.name);
        text.push_str(&wrap(headline.about, &first, "   "));
    }
    for machine in &report.machines {
        text.push_str(&ranges(machine));
        text.push_str(&figures(machine));
    }
    text
}

fn number(figure: f64) -> String {
    format!("{figure:.3}")
}

/// What any one figure makes of each ratio.
fn ranges(machine: &Machine) -> String {
    let rows = machine.ranges.iter().map(|(name, range)| {
        let base = machine.ratios.get(name).copied().flatten();
        vec![
            (*name).to_owned(),
            base.map_or("-".to_owned(), number),
            number(range.least),
            range.least_by.clone(),
            number(range.greatest),
            range.greatest_by.clone(),
        ]
    });
    let head = ["ratio", "as it is", "least", "by", "greatest", "by"];
    let count = machine.figures.len() as u64;
    format!(
        "\n{}, {} estimates, each halved and doubled alone:\n{}",
        machine.machine,
        grouped(count),
        table(&head, rows, "lrrlrl")
    )
}

/// The figures that matter most, and the move of each ratio in percent.
fn figures(machine: &Machine) -> String {
    let percent = |name: &str, varied: &Option<Ratios>| {
        let base = machine.ratios.get(name).copied().flatten();
        let now = varied.as_ref().and_then(|ratios| *ratios.get(name)?);
        match (base, now) {
            (Some(base), Some(now)) => format!("{:+.1}", (now / base - 1.0) * 100.0),
            _ => "-".to_owned(),
        }
    };
    let rows = machine.figures.iter().take(FIGURES_MAX).map(|figure| {
        let moves = HEADLINES.iter().map(|headline| {
            let either = [&figure.halved, &figure.doubled].map(|v| percent(headline.name, v));
            either.join("/")
        });
        [figure.path.clone(), grouped(figure.value)]
            .into_iter()
            .chain(moves)
            .collect()
    });
    let numbers: Vec<String> = (1..=HEADLINES.len()).map(|n| n.to_string()).collect();
    let head: Vec<&str> = ["figure", "value"]
        .into_iter()
        .chain(numbers.iter().map(String::as_str))
        .collect();
    let more = machine.figures.len().saturating_sub(FIGURES_MAX);
    let rest = match more {
        0 => String::new(),
        _ => format!("{more} more figures move every ratio less.\n"),
    };
    let errors = machine.figures.iter().flat_map(|figure| &figure.errors);
    let failed: String = errors
        .map(|error| format!("no run with {error}\n"))
        .collect();
    format!(
        "\nmoves in percent, halved/doubled:\n{}{rest}{failed}",
        table(&head, rows, "lr")
    )
}
