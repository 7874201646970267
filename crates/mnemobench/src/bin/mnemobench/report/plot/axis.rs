//! Axes: what they span, and where their ticks are.

use std::ops::Range;

use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;

/// How values lie along an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal distances are equal differences.
    Linear,
    /// Equal distances are equal ratios. Values must be above 0.
    Logarithmic,
}

impl Scale {
    fn apply(self, value: f64) -> f64 {
        match self {
            Self::Linear => value,
            Self::Logarithmic => value.log10(),
        }
    }
}

/// An axis, before it is known what lies along it.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    name: String,
    scale: Scale,
    format: fn(f64) -> String,
    ticks: Option<Vec<f64>>,
}

impl Axis {
    /// Called `name`, which tells the unit; `format` writes its ticks.
    pub(crate) fn new(name: &str, scale: Scale, format: fn(f64) -> String) -> Self {
        Self { name: name.to_owned(), scale, format, ticks: None }
    }

    /// Has ticks at these values alone.
    pub(crate) fn ticks(self, ticks: Vec<f64>) -> Self {
        Self { ticks: Some(ticks), ..self }
    }

    /// What it spans so that all `values` that have a place on it lie well within.
    pub(super) fn over(&self, values: impl Iterator<Item = f64>) -> Span {
        let places: Vec<f64> =
            values.map(|value| self.scale.apply(value)).filter(|at| at.is_finite()).collect();
        let low = places.iter().copied().fold(f64::INFINITY, f64::min);
        let high = places.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
        let margin = if high > low { (high - low) * 0.06 } else { 0.3 * high.abs().max(1.0) };
        let ends = [low - margin, high + margin];
        let ticks = self.ticks.clone().unwrap_or_else(|| match self.scale {
            Scale::Linear => linear_ticks(ends),
            Scale::Logarithmic => logarithmic_ticks(ends),
        });
        let ticks = ticks.into_iter().map(|tick| (self.scale.apply(tick), (self.format)(tick)));
        let ticks = ticks.filter(|(place, _)| (ends[0]..=ends[1]).contains(place)).collect();
        Span { name: self.name.clone(), ends, ticks, scale: self.scale }
    }
}

/// An axis that knows where it begins and ends.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) name: String,
    /// Places, as those of the ticks.
    pub(super) ends: [f64; 2],
    pub(super) ticks: Vec<(f64, String)>,
    scale: Scale,
}

impl Span {
    /// With a tick for each of these labels, the first at the far end.
    pub(super) fn of_labels(labels: Vec<String>) -> Self {
        let ticks: Vec<(f64, String)> = (0..).map(f64::from).zip(labels.into_iter().rev()).collect();
        Self { name: String::new(), ends: [-0.5, ticks.len() as f64 - 0.5], ticks, scale: Scale::Linear }
    }

    /// Where a value lies.
    pub(super) fn place(&self, value: f64) -> f64 {
        self.scale.apply(value)
    }

    /// Letters of the longest label.
    pub(super) fn longest_label(&self) -> usize {
        self.ticks.iter().map(|(_, label)| label.chars().count()).max().unwrap_or(0)
    }
}

impl Ranged for Span {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, limit: (i32, i32)) -> i32 {
        let share = (place - self.ends[0]) / (self.ends[1] - self.ends[0]);
        limit.0 + (share * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(place, _)| *place).collect()
    }

    fn range(&self) -> Range<f64> {
        self.ends[0]..self.ends[1]
    }
}

impl ValueFormatter<f64> for Span {
    fn format_ext(&self, place: &f64) -> String {
        self.ticks.iter().find(|(tick, _)| tick == place).map(|(_, label)| label.clone()).unwrap_or_default()
    }
}

/// Most ticks that an axis has room for.
const MOST_TICKS: usize = 7;

/// Multiples of 1, 2 or 5 times a power of ten.
fn linear_ticks([low, high]: [f64; 2]) -> Vec<f64> {
    RangedCoordf64::from(low..high).key_points(MOST_TICKS)
}

/// Powers of ten; where these are few, also 3 or 2 and 5 times them; where they are
/// many, some.
fn logarithmic_ticks([low, high]: [f64; 2]) -> Vec<f64> {
    let ticks = |factors: &[f64], every: i32| -> Vec<f64> {
        let decades =
            (low.floor() as i32..=high.ceil() as i32).filter(|decade| decade.rem_euclid(every) == 0);
        let ticks = decades.flat_map(|decade| factors.iter().map(move |factor| factor * 10_f64.powi(decade)));
        ticks.filter(|tick| (low..=high).contains(&tick.log10())).collect()
    };
    let fine: [(&[f64], i32); 4] = [(&[1.0, 2.0, 5.0], 1), (&[1.0, 3.0], 1), (&[1.0], 1), (&[1.0], 2)];
    let mut finest_first = fine.into_iter().map(|(factors, every)| ticks(factors, every));
    match finest_first.find(|ticks| ticks.len() <= MOST_TICKS) {
        // Within a decade lines and ratios are alike.
        Some(few) if few.len() < 3 => {
            let ticks = linear_ticks([low, high].map(|end| 10_f64.powf(end)));
            ticks.into_iter().filter(|tick| *tick > 0.0).collect()
        }
        Some(ticks) => ticks,
        None => ticks(&[1.0], 4),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn axis(scale: Scale) -> Axis {
        Axis::new("x", scale, |value| value.to_string())
    }

    #[test]
    fn an_axis_of_nothing_or_of_one_value_still_spans_something() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            for values in [vec![], vec![5.0], vec![f64::NAN, 5.0], vec![5.0, 5.0], vec![0.0]] {
                let [low, high] = axis(scale).over(values.into_iter()).ends;
                assert!(low < high && low.is_finite() && high.is_finite());
            }
        }
    }

    proptest! {
        #[test]
        fn values_lie_within_and_ticks_are_few(low in 1e-3f64..1e9, factor in 2.0f64..1e6, logarithmic: bool) {
            let scale = if logarithmic { Scale::Logarithmic } else { Scale::Linear };
            let span = axis(scale).over([low, low * factor].into_iter());
            prop_assert!(span.ends[0] <= span.place(low) && span.place(low * factor) <= span.ends[1]);
            prop_assert!((1..=MOST_TICKS + 1).contains(&span.ticks.len()), "{:?}", span);
            prop_assert!(span.ticks.windows(2).all(|pair| pair[0].0 < pair[1].0));
        }
    }
}
