//! Latency by percentile, as text: braille characters, each of which has two dots by four, or one character for each
//! place where those cannot be shown.

use crate::measure::Latencies;
use crate::measure::ratio::{float, time};

/// Lines of text that the curves take.
const ROWS: usize = 10;
/// Columns of the labels on the left, and the fewest that are worth a plot.
const LABEL: usize = 9;
const NARROWEST: usize = 40;
/// What is written below, and where.
const MARKS: [(&str, f64); 5] = [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)];

pub(super) struct Curve<'a> {
    pub(super) latencies: &'a Latencies,
    /// Drawn with gaps, and in ASCII with points: the floor.
    pub(super) dotted: bool,
}

/// The curves in at most so many columns; nothing where that is too narrow.
pub(super) fn plot(curves: &[Curve<'_>], columns: usize, utf8: bool) -> Vec<String> {
    if columns < NARROWEST {
        return Vec::new();
    }
    let width = columns - LABEL - 1;
    let cell = if utf8 { (2, 4) } else { (1, 1) };
    let furthest = curves.iter().map(|curve| curve.latencies.furthest()).fold(0.5, f64::min);
    let furthest = curves.iter().map(|curve| curve.latencies.furthest()).fold(furthest, f64::max);
    let decades = -(1.0 - furthest).log10();
    let (dots, lines) = (width * cell.0, ROWS * cell.1);
    // Halfway through a dot, so that neither end is at 0 or beyond what can be told.
    let quantile = |dot: usize| 1.0 - 10_f64.powf(-decades * (part(dot) + 0.5) / part(dots));

    let heights = |curve: &Curve<'_>| -> Vec<f64> {
        (0..dots).map(|dot| float(curve.latencies.at(quantile(dot)).at.max(1)).log10()).collect()
    };
    let heights: Vec<_> = curves.iter().map(heights).collect();
    let all = heights.iter().flatten().copied();
    let (low, high) = (all.clone().fold(f64::INFINITY, f64::min), all.fold(0.0, f64::max));
    let span = (high - low).max(0.01);

    let mut grid = Grid { width, utf8, cells: vec![0; width * ROWS] };
    for (curve, heights) in curves.iter().zip(&heights) {
        let mut before = None;
        for (dot, height) in heights.iter().enumerate() {
            let line = whole((1.0 - (height - low) / span) * part(lines - 1));
            if !curve.dotted || dot % (2 * cell.0) < cell.0 {
                grid.set(dot, line, curve.dotted);
            }
            // A step is drawn as one.
            for between in before
                .filter(|_| !curve.dotted)
                .into_iter()
                .flat_map(|before: usize| line.min(before)..line.max(before))
            {
                grid.set(dot, between, false);
            }
            before = Some(line);
        }
    }

    let labels = [(0, high), (ROWS / 2, f64::midpoint(low, high)), (ROWS - 1, low)];
    let label = |row: usize| labels.iter().find(|(at, _)| *at == row).map(|(_, height)| time(10_f64.powf(*height)));
    let mut shown: Vec<_> = (0..ROWS)
        .map(|row| format!("{:>LABEL$} {}", label(row).unwrap_or_default(), grid.row(row)).trim_end().to_owned())
        .collect();
    shown.push(below(decades, width));
    shown
}

/// The marks, each with its middle below its place.
fn below(decades: f64, width: usize) -> String {
    let mut line = " ".repeat(LABEL + 1);
    for (name, quantile) in MARKS {
        let place = whole(-(1.0 - quantile).log10() / decades * part(width));
        let from = (LABEL + 1 + place).saturating_sub(name.len() / 2).min(LABEL + 1 + width - name.len());
        if quantile <= 1.0 - 10_f64.powf(-decades) + 1e-9 && from > line.trim_end().len() {
            line = format!("{:<from$}{name}", line.trim_end());
        }
    }
    line
}

struct Grid {
    /// In characters.
    width: usize,
    utf8: bool,
    /// Bits of a braille character, or the character itself.
    cells: Vec<u8>,
}

impl Grid {
    fn set(&mut self, dot: usize, line: usize, dotted: bool) {
        /// Which bit of its character a dot is (Unicode, "Braille Patterns"), by its line and then its column.
        const BITS: [[u8; 2]; 4] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]];
        if self.utf8 {
            self.cells[line / 4 * self.width + dot / 2] |= BITS[line % 4][dot % 2];
        } else {
            self.cells[line * self.width + dot] = if dotted { b'.' } else { b'*' };
        }
    }

    fn row(&self, row: usize) -> String {
        let cells = &self.cells[row * self.width..(row + 1) * self.width];
        cells.iter().map(|&cell| self.shown(cell)).collect()
    }

    fn shown(&self, cell: u8) -> char {
        match cell {
            0 => ' ',
            _ if self.utf8 => char::from_u32(0x2800 + u32::from(cell)).unwrap_or(' '),
            _ => char::from(cell),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "columns of a terminal")]
fn part(whole: usize) -> f64 {
    whole as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place within a terminal")]
fn whole(part: f64) -> usize {
    part.max(0.0).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latencies(factor: u64) -> Latencies {
        Latencies::from_counts((1..=2_000).map(|n| (n * n * factor, 1)))
    }

    #[test]
    fn a_plot_is_as_wide_as_the_terminal_at_most_and_has_every_label() {
        let (floor, bus) = (latencies(100), latencies(300));
        let curves = [Curve { latencies: &floor, dotted: true }, Curve { latencies: &bus, dotted: false }];
        for utf8 in [true, false] {
            for columns in [40, 80, 120] {
                let lines = plot(&curves, columns, utf8);
                assert_eq!(lines.len(), ROWS + 1);
                assert!(lines.iter().all(|line| line.chars().count() <= columns), "{lines:#?}");
                assert!(lines[ROWS].contains("p50") && lines[ROWS].ends_with("p99"), "{lines:#?}");
                assert!(lines[0].contains("s ") && lines[ROWS - 1].contains("s "), "{lines:#?}");
                assert_eq!(lines.iter().all(|line| line.replace('µ', "u").is_ascii()), !utf8);
            }
            assert!(plot(&curves, NARROWEST - 1, utf8).is_empty());
        }
    }

    #[test]
    fn the_slower_curve_is_above_the_faster_one_and_both_rise() {
        let (floor, bus) = (latencies(100), latencies(10_000));
        let curves = [Curve { latencies: &floor, dotted: true }, Curve { latencies: &bus, dotted: false }];
        let lines = plot(&curves, 80, false);
        let rows_of = |mark: char, column: usize| -> Vec<usize> {
            (0..ROWS).filter(|&row| lines[row].chars().nth(column) == Some(mark)).collect()
        };
        let (early, late) = (LABEL + 1 + 20, LABEL + 1 + 60);
        assert!(rows_of('*', early)[0] < rows_of('.', early)[0], "{lines:#?}");
        assert!(rows_of('*', late)[0] <= rows_of('*', early)[0], "{lines:#?}");
    }

    #[test]
    fn samples_that_are_all_alike_are_a_line() {
        let one = Latencies::from_counts([(5_000, 100)]);
        let lines = plot(&[Curve { latencies: &one, dotted: false }], 60, false);
        assert_eq!(lines.iter().filter(|line| line.contains("***")).count(), 1, "{lines:#?}");
    }
}
