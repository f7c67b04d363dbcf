//! The spread of a figure over the rounds of one run.

use serde::Serialize;
use std::collections::BTreeMap;

/// Median, least and greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; the mean of the two middle ones of an even number.
    pub median: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of some figures; all zero if there are none.
    pub fn of(figures: impl IntoIterator<Item = f64>) -> Self {
        let mut figures: Vec<f64> = figures.into_iter().collect();
        figures.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (figures.first(), figures.last()) else {
            return Spread::default();
        };
        let middle = figures.len() / 2;
        let median = match figures.len() % 2 {
            0 => (figures[middle - 1] + figures[middle]) / 2.0,
            _ => figures[middle],
        };
        Spread { median, min, max }
    }
}

/// Figures by name, as the rounds go by.
#[derive(Default)]
pub struct Figures(BTreeMap<String, Vec<f64>>);

impl Figures {
    /// Adds a round's figure.
    pub fn add(&mut self, name: &str, figure: f64) {
        self.0.entry(name.to_owned()).or_default().push(figure);
    }

    /// The figure of the last round.
    pub fn last(&self, name: &str) -> Option<f64> {
        self.0.get(name)?.last().copied()
    }

    /// The spread of each.
    pub fn spreads(self) -> BTreeMap<String, Spread> {
        self.0
            .into_iter()
            .map(|(name, figures)| (name, Spread::of(figures)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_min_max() {
        let odd = Spread::of([3.0, 1.0, 2.0]);
        assert_eq!((odd.median, odd.min, odd.max), (2.0, 1.0, 3.0));
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]);
        assert_eq!((even.median, even.min, even.max), (2.5, 1.0, 4.0));
        assert_eq!(Spread::of([]), Spread::default());
    }
}
