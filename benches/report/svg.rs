//! As much of SVG as the plots need. Every colour has enough contrast on a light and on a dark page, because a README
//! is shown on both and a picture in it cannot know which.

use std::fmt::Write;

use waitbus::measure::ratio::time;

pub const OURS: &str = "#1f7ae0";
pub const FLOOR: &str = "#808890";
/// Of the others, in the order in which they come.
pub const OTHERS: [&str; 8] = ["#d9730d", "#2c9f4b", "#9a63e8", "#e0484d", "#1a9ba3", "#b8860b", "#d0509a", "#7a8f1f"];

pub struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    pub fn new(width: f64, height: f64) -> Svg {
        Svg { width, height, body: String::new() }
    }

    /// `place` is one of the classes `start`, `middle` and `end`, and may have others after it.
    pub fn text(&mut self, (x, y): (f64, f64), place: &str, colour: Option<&str>, text: &str) {
        let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        let fill = colour.map(|colour| format!(" style=\"fill:{colour}\"")).unwrap_or_default();
        let _ = writeln!(self.body, "<text x=\"{x:.1}\" y=\"{y:.1}\" class=\"{place}\"{fill}>{text}</text>");
    }

    pub fn rule(&mut self, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        let _ = writeln!(self.body, "<path class=\"rule\" d=\"M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}\"/>");
    }

    pub fn curve(&mut self, points: &[(f64, f64)], colour: &str, style: &str) {
        let path = path(points);
        let _ = writeln!(self.body, "<path class=\"curve {style}\" stroke=\"{colour}\" d=\"{path}\"/>");
    }

    /// What lies between two curves.
    pub fn band(&mut self, low: &[(f64, f64)], high: &[(f64, f64)], colour: &str) {
        let around: Vec<_> = low.iter().chain(high.iter().rev()).copied().collect();
        let path = path(&around);
        let _ = writeln!(self.body, "<path fill=\"{colour}\" fill-opacity=\"0.22\" d=\"{path}Z\"/>");
    }

    pub fn dot(&mut self, (x, y): (f64, f64), radius: f64, colour: &str) {
        let _ = writeln!(self.body, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\"/>");
    }

    pub fn finish(self) -> String {
        let Svg { width, height, body } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\">\n\
             <style>text{{font:12px system-ui,sans-serif;fill:#808890}}.title{{font-size:15px;font-weight:600}}\
             .end{{text-anchor:end}}.middle{{text-anchor:middle}}.small{{font-size:11px}}\
             .rule{{stroke:#808890;stroke-opacity:.28}}.curve{{fill:none;stroke-width:2;stroke-linejoin:round}}\
             .dashed{{stroke-dasharray:6 4}}.thin{{stroke-width:1.2;stroke-dasharray:2 3}}.range{{stroke-width:3;stroke-opacity:.45}}</style>\n\
             {body}</svg>\n"
        )
    }
}

fn path(points: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

/// A logarithmic axis: which values it shows, and between which places.
pub struct Axis {
    values: (f64, f64),
    places: (f64, f64),
}

impl Axis {
    /// With all of these values, and whole steps at both ends.
    pub fn around(values: impl Iterator<Item = f64> + Clone, places: (f64, f64)) -> Axis {
        let least = values.clone().fold(f64::INFINITY, f64::min).max(1.0);
        let most = values.fold(1.0, f64::max);
        let low = steps(least / 10.0).rfind(|step| *step <= least).unwrap_or(least);
        let high = steps(most).find(|step| *step >= most && *step > low).unwrap_or(most);
        Axis { values: (low, high), places }
    }

    pub fn place(&self, value: f64) -> f64 {
        let (low, high) = self.values;
        let share = (value.clamp(low, high) / low).ln() / (high / low).ln();
        self.places.0 + share * (self.places.1 - self.places.0)
    }

    /// What to write beside it, and where: as many as do not crowd it.
    pub fn ticks(&self) -> Vec<f64> {
        let (low, high) = self.values;
        let within: Vec<_> = steps(low).take_while(|step| *step <= high * 1.001).collect();
        let decades: Vec<_> = within.iter().copied().filter(|step| is_decade(*step)).collect();
        if within.len() > 10 && decades.len() > 1 { decades } else { within }
    }

    /// A horizontal line for each tick, with its time.
    pub fn rule_across(&self, svg: &mut Svg, from: f64, to: f64) {
        for tick in self.ticks() {
            let y = self.place(tick);
            svg.rule((from, y), (to, y));
            svg.text((from - 8.0, y + 4.0), "end", None, &time(tick));
        }
    }

    /// A vertical line for each tick, with its time below.
    pub fn rule_down(&self, svg: &mut Svg, from: f64, to: f64, label: impl Fn(f64) -> String) {
        for tick in self.ticks() {
            let x = self.place(tick);
            svg.rule((x, from), (x, to));
            svg.text((x, to + 16.0), "middle", None, &label(tick));
        }
    }
}

/// 1, 2 and 5 in each power of ten, from the one on in which `from` lies.
fn steps(from: f64) -> impl DoubleEndedIterator<Item = f64> {
    #[expect(clippy::cast_possible_truncation, reason = "a power of ten")]
    let decade = from.log10().floor() as i32;
    (decade..decade + 12)
        .flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * 10_f64.powi(power)))
        .skip_while(move |step| *step < from * 0.999)
        .collect::<Vec<_>>()
        .into_iter()
}

fn is_decade(step: f64) -> bool {
    let power = step.log10();
    (power - power.round()).abs() < 0.01
}
