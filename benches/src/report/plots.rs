//! The plots of the page: rows down, a logarithmic scale across.

use std::error::Error;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

/// What is drawn of one series in one row.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Mark {
    /// From the reference, or else from the left edge, to a value.
    Bar(f64),
    /// A value between two others.
    Range {
        /// Left end.
        low: f64,
        /// The value.
        value: f64,
        /// Right end.
        high: f64,
    },
}

impl Mark {
    fn extent(self) -> (f64, f64) {
        match self {
            Self::Bar(value) => (value, value),
            Self::Range { low, high, .. } => (low, high),
        }
    }
}

/// A plot: for each row a mark of each series.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) title: String,
    /// What the scale counts.
    pub(super) unit: String,
    /// Names of the series.
    pub(super) series: Vec<String>,
    /// Rows with their marks; a series that a row lacks is `None`.
    pub(super) rows: Vec<(String, Vec<Option<Mark>>)>,
    /// A value to compare with, drawn as a line.
    pub(super) reference: Option<f64>,
    /// Whether values are drawn beside the marks.
    pub(super) precision: usize,
}

type Answer = Result<(), Box<dyn Error>>;

const WIDTH: u32 = 900;
const LABEL_WIDTH: i32 = 150;
const RIGHT: i32 = 90;
const TOP: i32 = 58;
const BOTTOM: i32 = 44;
const MARK_HEIGHT: i32 = 17;
const ROW_GAP: i32 = 12;

/// Colours that differ for readers who see colours differently (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];
const INK: RGBColor = RGBColor(40, 44, 52);
const FAINT: RGBColor = RGBColor(222, 226, 232);

impl Plot {
    /// The plot as an SVG element.
    pub(super) fn svg(&self) -> Result<String, Box<dyn Error>> {
        let mut out = String::new();
        let size = (WIDTH, u32::try_from(self.height())?);
        {
            let area = SVGBackend::with_string(&mut out, size).into_drawing_area();
            self.draw(&area)?;
            area.present()?;
        }
        Ok(out)
    }

    fn row_height(&self) -> i32 {
        MARK_HEIGHT * count(self.series.len()) + ROW_GAP
    }

    fn height(&self) -> i32 {
        TOP + BOTTOM + self.row_height() * count(self.rows.len())
    }

    /// Ends of the scale: powers of ten, or of two where everything lies close together.
    fn scale(&self) -> Scale {
        let extents = self.rows.iter().flat_map(|(_, marks)| marks.iter().flatten());
        let reference = self.reference.map(|value| (value, value));
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        for (from, to) in extents.map(|mark| mark.extent()).chain(reference) {
            if from.is_finite() && from > 0.0 && to.is_finite() {
                (low, high) = (low.min(from), high.max(to));
            }
        }
        if low > high {
            (low, high) = (1.0, 10.0);
        }
        let base: f64 = if high / low > 30.0 { 10.0 } else { 2.0 };
        let first = (low * 0.8).log(base).floor();
        let last = (high * 1.02).log(base).ceil().max(first + 1.0);
        Scale { base, first, last }
    }

    fn draw(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Answer {
        let title = ("sans-serif", 17).into_font().style(FontStyle::Bold).color(&INK);
        area.draw(&Text::new(self.title.as_str(), (8, 8), title))?;
        let scale = self.scale();
        self.draw_scale(area, &scale)?;
        self.draw_key(area)?;
        for (index, (label, marks)) in self.rows.iter().enumerate() {
            let top = TOP + count(index) * self.row_height() + ROW_GAP / 2;
            let style = text(14, HPos::Right, VPos::Center);
            let middle = top + MARK_HEIGHT * count(self.series.len()) / 2;
            area.draw(&Text::new(label.as_str(), (LABEL_WIDTH - 10, middle), style))?;
            for (series, mark) in marks.iter().enumerate() {
                if let Some(mark) = mark {
                    let top = top + MARK_HEIGHT * count(series);
                    self.draw_mark(area, &scale, *mark, top, COLOURS[series % COLOURS.len()])?;
                }
            }
        }
        Ok(())
    }

    fn draw_scale(&self, area: &DrawingArea<SVGBackend<'_>, Shift>, scale: &Scale) -> Answer {
        let bottom = self.height() - BOTTOM;
        for tick in scale.ticks() {
            let x = scale.position(tick);
            area.draw(&PathElement::new(vec![(x, TOP), (x, bottom)], FAINT))?;
            let style = text(12, HPos::Center, VPos::Top);
            area.draw(&Text::new(number(tick), (x, bottom + 6), style))?;
        }
        let unit = text(12, HPos::Center, VPos::Top);
        let middle = i32::try_from(WIDTH)? / 2;
        area.draw(&Text::new(self.unit.as_str(), (middle, bottom + 24), unit))?;
        if let Some(reference) = self.reference {
            let x = scale.position(reference);
            let style = RGBColor(200, 40, 40).stroke_width(2);
            area.draw(&PathElement::new(vec![(x, TOP), (x, bottom)], style))?;
        }
        Ok(())
    }

    fn draw_key(&self, area: &DrawingArea<SVGBackend<'_>, Shift>) -> Answer {
        let mut x = LABEL_WIDTH;
        for (index, name) in self.series.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()].filled();
            area.draw(&Rectangle::new([(x, 36), (x + 12, 48)], colour))?;
            area.draw(&Text::new(name.as_str(), (x + 18, 42), text(13, HPos::Left, VPos::Center)))?;
            x += 40 + 8 * count(name.len());
        }
        Ok(())
    }

    fn draw_mark(
        &self,
        area: &DrawingArea<SVGBackend<'_>, Shift>,
        scale: &Scale,
        mark: Mark,
        top: i32,
        colour: RGBColor,
    ) -> Answer {
        let middle = top + MARK_HEIGHT / 2;
        let (value, right) = match mark {
            Mark::Bar(value) => {
                let from =
                    self.reference.map_or(LABEL_WIDTH, |reference| scale.position(reference));
                let to = scale.position(value);
                let corners = [(from.min(to), top + 2), (from.max(to), top + MARK_HEIGHT - 2)];
                area.draw(&Rectangle::new(corners, colour.filled()))?;
                (value, value.max(self.reference.unwrap_or(value)))
            }
            Mark::Range { low, value, high } => {
                let (from, to) = (scale.position(low), scale.position(high));
                let line = colour.stroke_width(3);
                area.draw(&PathElement::new(vec![(from, middle), (to, middle)], line))?;
                for end in [from, to] {
                    let points = vec![(end, middle - 5), (end, middle + 5)];
                    area.draw(&PathElement::new(points, colour.stroke_width(2)))?;
                }
                area.draw(&Circle::new((scale.position(value), middle), 5, colour.filled()))?;
                (value, high.max(value))
            }
        };
        let label = format!("{value:.*}", self.precision);
        let at = (scale.position(right) + 8, middle);
        area.draw(&Text::new(label, at, text(12, HPos::Left, VPos::Center)))?;
        Ok(())
    }
}

/// A logarithmic scale between two powers of a base.
struct Scale {
    base: f64,
    first: f64,
    last: f64,
}

impl Scale {
    /// Pixels from the left.
    fn position(&self, value: f64) -> i32 {
        let share = (value.log(self.base) - self.first) / (self.last - self.first);
        let width = f64::from(WIDTH) - f64::from(LABEL_WIDTH + RIGHT);
        LABEL_WIDTH + pixels(share.clamp(0.0, 1.0) * width)
    }

    fn ticks(&self) -> Vec<f64> {
        let mut ticks = Vec::new();
        let mut power = self.first;
        while power <= self.last {
            ticks.push(self.base.powf(power));
            power += 1.0;
        }
        ticks
    }
}

fn text(size: i32, horizontal: HPos, vertical: VPos) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&INK).pos(Pos::new(horizontal, vertical))
}

/// A number of a scale, without what it does not need.
fn number(value: f64) -> String {
    if value >= 1000.0 && value % 1000.0 == 0.0 {
        format!("{}k", value / 1000.0)
    } else {
        format!("{value}")
    }
}

fn count(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "within the width of the plot")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}
