//! Plots as SVG. Colours are marks that the page's style sheet replaces, so that
//! one plot is read on a light and on a dark ground.

mod axis;
mod frame;

use criterion_gate::verdict::Verdict;

pub(crate) use self::axis::{Axis, Scale};
use self::frame::{Frame, Mark, SOFT};

/// Why a plot could not be drawn.
pub(crate) type Error = Box<dyn std::error::Error>;

/// Points with a name, in one colour and one shape.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// As it stands in the legend.
    pub(crate) name: String,
    /// Each as x and y.
    pub(crate) points: Vec<[f64; 2]>,
    /// Those that a line joins.
    pub(crate) line: Vec<[f64; 2]>,
}

impl Series {
    /// All points are joined.
    pub(crate) fn joined(name: &str, points: Vec<[f64; 2]>) -> Self {
        Self { name: name.to_owned(), line: points.clone(), points }
    }
}

/// Points on two axes.
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

/// A label and the values that belong to it.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Stands at its left.
    pub(crate) label: String,
    /// One value for each mark; not a number where there is none.
    pub(crate) values: Vec<f64>,
}

/// Rows of marks on one axis, the first at the top; the marks of a row are joined.
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

/// What became of a value.
#[derive(Debug, Clone)]
pub(crate) struct Shift {
    /// Stands at its left.
    pub(crate) label: String,
    /// The change with its lower and upper bound.
    pub(crate) change: [f64; 3],
    /// What the gate says of it.
    pub(crate) outcome: Outcome,
}

/// What the gate says of a change, in short.
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

/// Changes with their intervals, the first at the top.
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
