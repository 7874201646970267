//! What all plots share: size, axes, legend, marks.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::IntoDrawingArea;
use plotters::element::{Circle, DynElement, EmptyElement, IntoDynElement, PathElement, Polygon, Text};
use plotters::prelude::{DrawingBackend, SVGBackend};
use plotters::style::{Color, IntoFont, RGBColor, TextStyle};

use super::Error;
use super::axis::Span;

/// Text and axes. The colours stand for those of the page's style sheet, which
/// finds them by these very numbers.
const INK: RGBColor = RGBColor(0x22, 0x22, 0x22);
/// What joins marks.
pub(super) const SOFT: RGBColor = RGBColor(0x77, 0x77, 0x77);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);
/// Told apart by those who are colour-blind (Okabe and Ito, "Color Universal
/// Design", 2008). Shapes say the same.
const PALETTE: [RGBColor; 6] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x44, 0x44, 0x44),
];

/// Pixels. A phone scrolls what is wider than itself.
const WIDTH: u32 = 680;
const HEIGHT: u32 = 340;
const ROW: u32 = 24;
const TEXT: u32 = 14;
/// A letter, on average.
const LETTER: f64 = 7.2;
/// Of ticks and the name below an axis.
const BELOW: u32 = 44;
const RADIUS: i32 = 5;

type Axes = Cartesian2d<Span, Span>;

/// A colour and a shape.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark {
    pub(super) colour: RGBColor,
    pub(super) shape: usize,
}

impl Mark {
    /// One after the other, until they repeat.
    pub(super) fn nth(n: usize) -> Self {
        Self { colour: PALETTE[n % PALETTE.len()], shape: n % 5 }
    }

    /// The corners around its centre; of a circle none.
    fn corners(self) -> &'static [(i32, i32)] {
        const R: i32 = RADIUS;
        match self.shape {
            1 => &[(-R, -R + 1), (R, -R + 1), (R, R - 1), (-R, R - 1)],
            2 => &[(0, -R - 1), (R + 1, R - 1), (-R - 1, R - 1)],
            3 => &[(0, -R - 1), (R + 1, 0), (0, R + 1), (-R - 1, 0)],
            4 => &[(0, R + 1), (R + 1, -R + 1), (-R - 1, -R + 1)],
            _ => &[],
        }
    }

    /// Returns the element that draws it around `place`: a point of the plot, or a pixel.
    fn at<'a, DB: DrawingBackend + 'a, C: Clone + 'a>(self, place: C) -> DynElement<'a, DB, C> {
        let (center, style) = (EmptyElement::at(place), self.colour.filled());
        match self.corners() {
            [] => (center + Circle::new((0, 0), RADIUS, style)).into_dyn(),
            corners => (center + Polygon::new(corners.to_vec(), style)).into_dyn(),
        }
    }
}

/// A plot without its data.
pub(super) struct Frame<'a> {
    x: Span,
    y: Span,
    /// Whether y has a row for each of its labels.
    has_rows: bool,
    legend: Vec<(Mark, &'a str)>,
}

impl<'a> Frame<'a> {
    /// Of two axes.
    pub(super) fn new(x: Span, y: Span, legend: Vec<(Mark, &'a str)>) -> Self {
        Self { x, y, has_rows: false, legend }
    }

    /// Of rows with these labels, the first at the top, on one axis.
    pub(super) fn of_rows(x: Span, labels: Vec<String>, legend: Vec<(Mark, &'a str)>) -> Self {
        Self { x, y: Span::of_labels(labels), has_rows: true, legend }
    }

    /// Draws it with what `body` draws into it.
    pub(super) fn draw(
        self,
        body: impl FnOnce(&mut Canvas<'_, '_>) -> Result<(), Error>,
    ) -> Result<String, Error> {
        let legend = self.place_legend();
        let legend_height = legend.last().map_or(0, |(.., (_, y))| y + TEXT as i32) as u32;
        let left = ((self.y.longest_label() as f64 * LETTER) as u32 + 14).min(WIDTH / 2);
        let (above, height) = if self.has_rows {
            let above = legend_height + 8;
            (above, above + ROW * self.y.ticks.len() as u32 + BELOW)
        } else {
            // The name of y stands above it, where it is read without turning the head.
            (legend_height + TEXT + 18, HEIGHT + legend_height)
        };
        let mut svg = String::new();
        {
            let root = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
            for (mark, name, (x, y)) in legend {
                root.draw(&mark.at((x, y)))?;
                root.draw(&Text::new(name, (x + 12, y - TEXT as i32 / 2), text()))?;
            }
            root.draw(&Text::new(self.y.name.clone(), (4, legend_height as i32 + 6), text()))?;
            let mut chart = ChartBuilder::on(&root)
                .margin_top(above)
                .margin_right(24)
                .x_label_area_size(BELOW)
                .y_label_area_size(left)
                .build_cartesian_2d(self.x.clone(), self.y.clone())?;
            let mut mesh = chart.configure_mesh();
            mesh.axis_style(GRID).bold_line_style(GRID).max_light_lines(0).label_style(text());
            mesh.x_desc(self.x.name.as_str()).draw()?;
            body(&mut Canvas { chart: &mut chart, x: &self.x, y: &self.y })?;
            root.present()?;
        }
        Ok(svg)
    }

    /// Where each entry's mark is, in lines as long as the plot is wide.
    fn place_legend(&self) -> Vec<(Mark, &'a str, (i32, i32))> {
        let (mut x, mut y) = (10, 12);
        let mut placed = Vec::new();
        for &(mark, name) in &self.legend {
            let width = 12 + (name.chars().count() as f64 * LETTER) as i32 + 18;
            if x > 10 && x + width > WIDTH as i32 {
                (x, y) = (10, y + TEXT as i32 + 6);
            }
            placed.push((mark, name, (x, y)));
            x += width;
        }
        placed
    }
}

/// What data is drawn into.
pub(super) struct Canvas<'a, 'b> {
    chart: &'a mut ChartContext<'b, SVGBackend<'b>, Axes>,
    pub(super) x: &'a Span,
    pub(super) y: &'a Span,
}

impl Canvas<'_, '_> {
    /// Where a row is, the first at the top.
    pub(super) fn row(&self, place: usize) -> f64 {
        self.y.ends[1] - 0.5 - place as f64
    }

    /// Joins places by lines; what has no place is left out.
    pub(super) fn path(&mut self, mut places: Vec<(f64, f64)>, colour: RGBColor) -> Result<(), Error> {
        places.retain(|(x, y)| x.is_finite() && y.is_finite());
        Ok(self.chart.plotting_area().draw(&PathElement::new(places, colour.stroke_width(2)))?)
    }

    /// A mark at a place, if it is one.
    pub(super) fn mark(&mut self, place: (f64, f64), mark: Mark) -> Result<(), Error> {
        if place.0.is_finite() && place.1.is_finite() {
            self.chart.plotting_area().draw(&mark.at(place))?;
        }
        Ok(())
    }
}

fn text() -> TextStyle<'static> {
    ("sans-serif", TEXT).into_font().color(&INK)
}
