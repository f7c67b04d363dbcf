//! Rates over sizes, and their picture.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use serde::Serialize;

/// A rate over a size or a number.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// What it is of.
    pub name: String,
    /// Bytes or a number, as [`Axis`] says; what it is of, millions a second in a bench.
    pub points: Vec<(u64, f64)>,
}

/// What the curves of a picture go over.
#[derive(Clone, Copy, Debug)]
pub enum Axis {
    /// Sizes of a table in bytes.
    TableBytes,
    /// Sizes of what a loop goes through, in bytes.
    Footprint,
    /// A number of things.
    Count(&'static str),
}

impl Axis {
    fn label(self) -> &'static str {
        match self {
            Axis::TableBytes => "table",
            Axis::Footprint => "footprint",
            Axis::Count(of) => of,
        }
    }

    fn point(self, x: f64) -> String {
        match self {
            Axis::TableBytes | Axis::Footprint => size(x as u64),
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
    pub fn add(&mut self, x: u64, y: f64) {
        self.points.push((x, y));
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
    let panel = Panel {
        title: title.to_owned(),
        curves: curves.to_vec(),
    };
    svg_of_panels(&[panel], axis, "millions a second")
}

/// A picture below or above others, with axes of its own.
pub struct Panel {
    /// What stands over it.
    pub title: String,
    /// What is in it.
    pub curves: Vec<Curve>,
}

/// Several pictures, each below the one before, with `figure` upwards.
///
/// # Errors
/// As [`svg`], for any of them.
pub fn svg_of_panels(panels: &[Panel], axis: Axis, figure: &str) -> Result<String> {
    let mut text = String::new();
    draw_panels(&mut text, panels, axis, figure)
        .map_err(|error| anyhow!("cannot draw the curves: {error}"))?;
    Ok(text)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw_panels(text: &mut String, panels: &[Panel], axis: Axis, figure: &str) -> Drawn {
    let size = (900, 560 * panels.len() as u32);
    let all = SVGBackend::with_string(text, size).into_drawing_area();
    all.fill(&WHITE)?;
    for (area, panel) in all.split_evenly((panels.len(), 1)).iter().zip(panels) {
        draw(area, panel, axis, figure)?;
    }
    all.present()?;
    Ok(())
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    Panel { title, curves }: &Panel,
    axis: Axis,
    figure: &str,
) -> Drawn {
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let bytes = points().map(|point| point.0);
    let (Some(least), Some(most)) = (bytes.clone().min(), bytes.max()) else {
        return Err("there is nothing to draw".into());
    };
    let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.5;
    let bottom = points().map(|point| point.1).fold(f64::MAX, f64::min) / 1.5;
    let mut chart = ChartBuilder::on(area)
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
        .y_desc(figure)
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
