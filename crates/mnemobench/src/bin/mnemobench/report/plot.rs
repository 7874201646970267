//! Plots as SVG. The style sheet of the page replaces the colors, so that one plot suits a light
//! and a dark background.

mod axis;
mod frame;

use criterion_gate::verdict::Verdict;

pub(crate) use self::axis::{Axis, Scale};
use self::frame::{Frame, Mark, SOFT};

/// The reason why a plot could not be drawn.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Named points with the same color and shape.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// The name in the legend.
    pub(crate) name: String,
    /// The points as x and y.
    pub(crate) points: Vec<[f64; 2]>,
    /// The points that a line connects.
    pub(crate) line: Vec<[f64; 2]>,
}

impl Series {
    /// Creates a series whose points are all connected.
    pub(crate) fn joined(name: &str, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.to_owned(), line: points.clone(), points }
    }
}

/// Draws points on two axes.
pub(crate) fn points(x: &Axis, y: &Axis, series: &[Series]) -> Result<String, Error> {
    let along = |dimension: usize| {
        series.iter().flat_map(move |series| series.points.iter().map(move |point| point[dimension]))
    };
    let legend = marks().zip(series.iter().map(|series| series.name.as_str())).collect();
    Frame::new(x.over(along(0)), y.over(along(1)), legend).draw(|canvas| {
        for (mark, series) in marks().zip(series) {
            let [line, points] = [&series.line, &series.points].map(|points| {
                points.iter().map(|&[x, y]| (canvas.x.place(x), canvas.y.place(y))).collect::<Vec<_>>()
            });
            canvas.path(line, mark.colour)?;
            points.into_iter().try_for_each(|place| canvas.mark(place, mark))?;
        }
        Ok(())
    })
}

fn marks() -> impl Iterator<Item = Mark> {
    (0..).map(Mark::nth)
}

/// A label and its values.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// The label to the left of the row.
    pub(crate) label: String,
    /// One value for each mark; NaN if there is none.
    pub(crate) values: Vec<f64>,
}

/// Draws rows of marks on one axis, the first at the top. A line connects the marks of a row.
pub(crate) fn rows(x: &Axis, names: &[&str], rows: &[Row]) -> Result<String, Error> {
    let span = x.over(rows.iter().flat_map(|row| row.values.iter().copied()));
    let labels = rows.iter().map(|row| row.label.clone()).collect();
    Frame::of_rows(span, labels, marks().zip(names.iter().copied()).collect()).draw(|canvas| {
        for (number, row) in rows.iter().enumerate() {
            let height = canvas.row(number);
            let places: Vec<_> = row.values.iter().map(|&value| (canvas.x.place(value), height)).collect();
            canvas.path(places.clone(), SOFT)?;
            marks().zip(places).try_for_each(|(mark, place)| canvas.mark(place, mark))?;
        }
        Ok(())
    })
}

/// The change of a benchmark.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    /// The label to the left of the row.
    pub(crate) label: String,
    /// The change in percent, with its lower and upper bound.
    pub(crate) change: [f64; 3],
    /// The verdict in brief.
    pub(crate) outcome: Outcome,
}

/// A verdict reduced to what a plot distinguishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Regressed,
    Undecided,
    Improved,
    Passed,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Regressed, Self::Undecided, Self::Improved, Self::Passed];

    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Regressed => Self::Regressed,
            Verdict::Improved => Self::Improved,
            Verdict::Passed => Self::Passed,
            _ => Self::Undecided,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Regressed => "regressed",
            Self::Undecided => "undecided",
            Self::Improved => "improved",
            Self::Passed => "passed",
        }
    }

    fn mark(self) -> Mark {
        match self {
            Self::Passed => Mark { colour: SOFT, shape: 0 },
            Self::Regressed => Mark::nth(1),
            Self::Improved => Mark::nth(2),
            Self::Undecided => Mark::nth(3),
        }
    }
}

/// Draws changes with their intervals, the first at the top.
pub(crate) fn shifts(x: &Axis, shifts: &[Shift]) -> Result<String, Error> {
    let span = x.over(shifts.iter().flat_map(|shift| shift.change).chain([0.0]));
    let labels = shifts.iter().map(|shift| shift.label.clone()).collect();
    let legend = Outcome::ALL.map(|outcome| (outcome.mark(), outcome.as_str())).to_vec();
    Frame::of_rows(span, labels, legend).draw(|canvas| {
        let none = canvas.x.place(0.0);
        canvas.path(canvas.y.ends.map(|end| (none, end)).to_vec(), SOFT)?;
        for (number, Shift { change, outcome, .. }) in shifts.iter().enumerate() {
            let height = canvas.row(number);
            let [point, low, high] = change.map(|value| (canvas.x.place(value), height));
            canvas.path(vec![low, high], outcome.mark().colour)?;
            canvas.mark(point, outcome.mark())?;
        }
        Ok(())
    })
}
