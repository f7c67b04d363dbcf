//! Rates over sizes, and their picture.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::Serialize;

/// A rate over a size or a number.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Bytes or a number, as [`Axis`] says; millions a second.
    pub points: Vec<(u64, f64)>,
}

/// What the curves of a picture go over.
#[derive(Clone, Copy, Debug)]
pub enum Axis {
    /// Sizes of a table in bytes.
    TableBytes,
    /// A number of things.
    Count(&'static str),
}

impl Axis {
    fn label(self) -> &'static str {
        match self {
            Axis::TableBytes => "table",
            Axis::Count(of) => of,
        }
    }

    fn point(self, x: f64) -> String {
        match self {
            Axis::TableBytes => size(x as u64),
            Axis::Count(_) => format!("{x:.0}"),
        }
    }
}

impl Curve {
    /// An empty one.
    pub fn new(name: String) -> Self {
        let points = Vec::new();
        Curve { name, points }
    }

    /// Adds a point.
    pub fn add(&mut self, x: u64, mps: f64) {
        self.points.push((x, mps));
    }
}

/// A size in the largest unit that leaves it whole.
pub fn size(bytes: u64) -> String {
    match bytes {
        b if b >= 1 << 30 => format!("{} GiB", b >> 30),
        b if b >= 1 << 20 => format!("{} MiB", b >> 20),
        b => format!("{} KiB", b >> 10),
    }
}

/// The curves as SVG, both axes logarithmic.
///
/// # Errors
/// Curves without points, and what the drawing library refuses.
pub fn svg(title: &str, axis: Axis, curves: &[Curve]) -> Result<String> {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let bytes = points().map(|point| point.0);
    let (Some(least), Some(most)) = (bytes.clone().min(), bytes.max()) else {
        return Err(anyhow!("there is nothing to draw"));
    };
    let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.5;
    let bottom = points().map(|point| point.1).fold(f64::MAX, f64::min) / 1.5;
    let mut text = String::new();
    draw(
        &mut text,
        (title, axis),
        curves,
        (least, most),
        (bottom, top),
    )
    .map_err(|error| anyhow!("cannot draw the curves: {error}"))?;
    Ok(text)
}

fn draw(
    text: &mut String,
    (title, axis): (&str, Axis),
    curves: &[Curve],
    (least, most): (u64, u64),
    (bottom, top): (f64, f64),
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::with_string(text, (900, 560)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(title, ("sans-serif", 20))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(60)
        .build_cartesian_2d(
            (least as f64..most as f64).log_scale(),
            (bottom..top).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(axis.label())
        .y_desc("millions a second")
        .x_label_formatter(&|&x| axis.point(x))
        .draw()?;
    for (i, curve) in curves.iter().enumerate() {
        let colour = Palette99::pick(i).to_rgba();
        let points = curve.points.iter().map(|&(bytes, mps)| (bytes as f64, mps));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(curve.name.clone())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], colour));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    area.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_names_its_curves() {
        let mut curve = Curve::new("insert".to_owned());
        curve.add(1 << 19, 60.0);
        curve.add(1 << 30, 20.0);
        let text = svg("rates", Axis::TableBytes, &[curve]).expect("drawn");
        assert!(text.starts_with("<svg") && text.contains("insert") && text.contains("rates"));
        assert!(svg("rates", Axis::Count("pages"), &[]).is_err());
    }
}
