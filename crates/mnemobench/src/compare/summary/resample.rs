//! Confidence intervals of figures, by a bootstrap over rounds and, within rounds, over memories,
//! questions or conversations.
//!
//! Rounds differ by the load of the machine, questions by their difficulty. Both are drawn with
//! replacement (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8).
//! All systems get the same questions in each draw, because all were asked the same questions.

use serde::{Deserialize, Serialize};

use super::Measured;
use super::figure::Figure;
use criterion_gate::random::Random;
use criterion_gate::statistics::median;

/// Number of draws. Ten of them lie beyond each end of a 95 % interval.
const RESAMPLES: u64 = 400;
/// A fixed seed, so that equal input gives equal intervals.
const SEED: u64 = 0x636f_6d70_6172_6531;

/// A value with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The value itself.
    pub point: f64,
    /// Lower and upper bound; `None` for a single measurement.
    pub interval: Option<[f64; 2]>,
}

/// The values of one figure, round by round. A position stands for the same memory or question in
/// every round, and a missing value is NaN.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    rounds: Vec<Vec<f64>>,
}

impl Samples {
    /// Collects the values of `figure`. Each round holds one cell of every conversation, and
    /// `sizes` are the memories and questions of each.
    pub(super) fn new(rounds: &[Vec<&Measured>], sizes: &[[usize; 2]], figure: Figure) -> Self {
        let of_round = |round: &Vec<&Measured>| {
            let mut values = Vec::new();
            for (measured, size) in round.iter().zip(sizes) {
                let mut own = figure.values(measured);
                own.resize(figure.count(*size), f64::NAN);
                values.extend(own);
            }
            values
        };
        Self { rounds: rounds.iter().map(of_round).collect() }
    }

    /// Returns the median over rounds of the figure's statistic.
    pub(super) fn estimate(&self, figure: Figure) -> Option<Estimate> {
        let point = self.statistic(figure, &self.all_rounds(), &self.all_places())?;
        let draw = |number: u64| {
            let (rounds, places) = self.draw(number, 1);
            self.statistic(figure, &rounds, &places)
        };
        let interval = self.is_repeated().then(|| interval((0..RESAMPLES).filter_map(draw).collect()));
        Some(Estimate { point, interval: interval.flatten() })
    }

    /// Compares with `ours`: by the difference for a quality, by the ratio for any other figure.
    pub(super) fn against(&self, ours: &Self, figure: Figure) -> Option<Estimate> {
        let compare = |theirs: Option<f64>, ours: Option<f64>| {
            let (theirs, ours) = (theirs?, ours?);
            let compared = if figure.is_difference() { theirs - ours } else { theirs / ours };
            compared.is_finite().then_some(compared)
        };
        let places = self.all_places();
        let point = compare(
            self.statistic(figure, &self.all_rounds(), &places),
            ours.statistic(figure, &ours.all_rounds(), &places),
        )?;
        let draw = |number: u64| {
            let (rounds, places) = self.draw(number, 1);
            let (our_rounds, _) = ours.draw(number, 2);
            compare(self.statistic(figure, &rounds, &places), ours.statistic(figure, &our_rounds, &places))
        };
        let is_repeated = self.is_repeated() && ours.is_repeated();
        let interval = is_repeated.then(|| interval((0..RESAMPLES).filter_map(draw).collect()));
        Some(Estimate { point, interval: interval.flatten() })
    }

    /// Whether there is more than one finite value.
    fn is_repeated(&self) -> bool {
        self.rounds.iter().flatten().filter(|value| value.is_finite()).count() > 1
    }

    fn all_rounds(&self) -> Vec<u32> {
        (0..self.rounds.len() as u32).collect()
    }

    fn all_places(&self) -> Vec<u32> {
        (0..self.rounds.first().map_or(0, Vec::len) as u32).collect()
    }

    /// Draws rounds and positions. Every system gets the same positions for the same `number`.
    fn draw(&self, number: u64, side: u64) -> (Vec<u32>, Vec<u32>) {
        let (rounds, places) = (self.all_rounds(), self.all_places());
        let drawn = |all: &[u32], stream: u64| -> Vec<u32> {
            let mut random = Random::stream(SEED, stream);
            all.iter().map(|_| random.below(all.len() as u32)).collect()
        };
        (drawn(&rounds, 4 * number + side), drawn(&places, 4 * number))
    }

    fn statistic(&self, figure: Figure, rounds: &[u32], places: &[u32]) -> Option<f64> {
        let of_round = |&round: &u32| {
            let values = self.rounds.get(round as usize)?;
            let mut drawn: Vec<f64> = places
                .iter()
                .filter_map(|&place| values.get(place as usize).copied())
                .filter(|value| value.is_finite())
                .collect();
            figure.statistic().of(&mut drawn)
        };
        median(&rounds.iter().filter_map(of_round).collect::<Vec<f64>>())
    }
}

fn interval(mut drawn: Vec<f64>) -> Option<[f64; 2]> {
    drawn.sort_by(f64::total_cmp);
    let at = |share: f64| drawn.get((share * drawn.len().saturating_sub(1) as f64).round() as usize).copied();
    Some([at(0.025)?, at(0.975)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(rounds: &[&[f64]]) -> Samples {
        Samples { rounds: rounds.iter().map(|round| round.to_vec()).collect() }
    }

    #[test]
    fn a_constant_is_certain_and_noise_is_not() {
        let ours = samples(&[&[2.0; 50], &[2.0; 50]]);
        let theirs = samples(&[&[6.0; 50]]);
        let ratio = theirs.against(&ours, Figure::Recall).unwrap();
        assert_eq!(ratio, Estimate { point: 3.0, interval: Some([3.0; 2]) });
        let noisy: Vec<f64> = (0..50).map(|at| f64::from(at % 10)).collect();
        let mean = samples(&[&noisy]).estimate(Figure::RecallAt5).unwrap();
        assert_eq!(mean.point, 4.5);
        assert!(mean.interval.is_some_and(|[low, high]| low < 4.2 && high > 4.8), "{mean:?}");
    }

    #[test]
    fn rounds_that_differ_widen_the_interval() {
        let alike = samples(&[&[5.0; 20], &[5.0; 20], &[5.0; 20]]);
        let apart = samples(&[&[4.0; 20], &[5.0; 20], &[9.0; 20]]);
        assert_eq!(alike.estimate(Figure::Store).unwrap().interval, Some([5.0; 2]));
        let apart = apart.estimate(Figure::Store).unwrap();
        assert_eq!(apart, Estimate { point: 5.0, interval: Some([4.0, 9.0]) });
    }

    #[test]
    fn systems_are_compared_on_the_same_questions() {
        // Every second question is hard for both systems. Each mean alone is uncertain, but their
        // difference is not.
        let ours: Vec<f64> = (0..40).map(|at| f64::from(at % 2)).collect();
        let theirs: Vec<f64> = ours.iter().map(|value| value - 0.1).collect();
        let less = samples(&[&theirs]).against(&samples(&[&ours]), Figure::RecallAt5).unwrap();
        assert!(less.interval.unwrap().iter().all(|bound| (bound + 0.1).abs() < 1e-9), "{less:?}");
    }

    #[test]
    fn what_is_missing_is_left_out_and_of_nothing_there_is_no_figure() {
        let some = samples(&[&[f64::NAN, 3.0], &[f64::NAN, f64::NAN]]);
        assert_eq!(some.estimate(Figure::Store), Some(Estimate { point: 3.0, interval: None }));
        assert_eq!(samples(&[&[f64::NAN]]).estimate(Figure::Ram), None);
        assert_eq!(samples(&[]).estimate(Figure::Ram), None);
    }
}
