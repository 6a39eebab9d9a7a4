//! The pictures, each drawn from raw data alone:
//!
//! - `latency-*.svg`: for each thing that was done often enough, how long it took everybody, by percentile;
//! - `overview.svg`: the medians of all of them in one picture;
//! - `subscribers-*.svg`: what it costs when more and more of them listen;
//! - `polling*.svg`: what is waited for by asking again and again, and what that costs.

use waitbus::measure::{Estimate, Latencies};

use super::svg::{Axis, FLOOR, OTHERS, OURS, Svg};
use super::written::{Answers, Figure, Row};
use waitbus::measure::ratio::{float, number, time};

/// Pixels of what lies between the axes.
const WIDTH: f64 = 520.0;

/// Pixels that the longest of these names takes, at most.
fn longest<'a>(names: impl Iterator<Item = &'a str>, each: f64) -> f64 {
    let characters = names.map(|name| name.chars().count()).max().unwrap_or(0);
    f64::from(u32::try_from(characters).unwrap_or(0)) * each
}

/// One of them, and where in the table it belongs.
pub struct Picture<'a> {
    pub file: String,
    pub svg: String,
    /// None for the one over everything.
    pub question: Option<&'a str>,
    /// None for the whole question.
    pub what: Option<&'a str>,
}

/// All that these answers are enough for: nothing is drawn of somebody alone.
pub fn all(answers: &[Answers]) -> Vec<Picture<'_>> {
    let mut pictures = Vec::new();
    let (polling, timed): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.question == "polling");
    let mut draw = |name: String, svg: Option<Svg>, question, what| {
        let svg = svg.map(Svg::finish);
        pictures.extend(svg.map(|svg| Picture { file: format!("{name}.svg"), svg, question, what }));
    };
    let overview =
        dots("Medians, each with the way to its furthest percentile", &timed, |row| row.latencies().is_some());
    draw("overview".into(), overview, None, None);
    for answer in polling {
        let question = Some(&*answer.question);
        let svg = dots("Waiting and polling", &[answer], |row| span(row).is_some() && !is_cost(row));
        draw("polling".into(), svg, question, None);
        draw("polling-cost".into(), dots("What it costs meanwhile", &[answer], is_cost), question, None);
    }
    for answer in timed {
        let mut kinds = Vec::new();
        for what in answer.whats() {
            match subscribers(what) {
                Some((_, kind)) if kinds.contains(&kind) => {}
                Some((_, kind)) => {
                    kinds.push(kind);
                    draw(format!("subscribers-{}", slug(kind)), growth(kind, answer), Some(&answer.question), None);
                }
                None => {
                    let svg = percentiles(what, answer);
                    draw(format!("latency-{}", slug(what)), svg, Some(&answer.question), Some(what));
                }
            }
        }
    }
    pictures
}

/// `1,000 subscribers, last served`: how many, and of what.
fn subscribers(what: &str) -> Option<(f64, &str)> {
    let (count, rest) = what.split_once(' ')?;
    let count = count.replace(',', "").parse().ok()?;
    rest.starts_with("subscriber").then(|| (count, rest.split_once(' ').map_or("", |(_, rest)| rest)))
}

fn slug(text: &str) -> String {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-").to_lowercase()
}

/// The colour of each, by the order in which the rivals come.
fn colours<'a>(rows: impl Iterator<Item = &'a Row>) -> Vec<(&'a str, &'static str)> {
    let (mut known, mut others) = (Vec::new(), OTHERS.into_iter().cycle());
    for row in rows {
        if known.iter().all(|(who, _)| *who != row.who) {
            let colour = match row {
                row if row.is_ours() => OURS,
                row if row.is_floor() => FLOOR,
                _ => others.next().unwrap_or(FLOOR),
            };
            known.push((&*row.who, colour));
        }
    }
    known
}

fn colour_of(known: &[(&str, &'static str)], who: &str) -> &'static str {
    known.iter().find(|(name, _)| *name == who).map_or(FLOOR, |(_, colour)| colour)
}

fn median(latencies: &Latencies) -> f64 {
    float(latencies.at(0.5).at)
}

/// Latency by percentile. One in so many samples is slower, and that number is the axis, so what is rare has room.
fn percentiles(what: &str, answer: &Answers) -> Option<Svg> {
    const STEPS: u32 = 120;
    let rows: Vec<_> = answer.of(what).filter(|row| row.latencies().is_some()).collect();
    // Below p99 a curve says no more than the table does.
    let whole = rows.iter().filter_map(|row| row.latencies()).filter(|latencies| latencies.furthest() >= 0.99);
    if whole.count() < 2 {
        return None;
    }
    let (left, right, top, bottom) = (70.0, 70.0 + WIDTH, 52.0, 340.0);
    let names = longest(rows.iter().map(|row| &*row.who), 6.8).max(160.0);
    let mut svg = Svg::new(right + names + 20.0, 392.0);
    svg.text((left, 24.0), "start title", None, &what.replace('`', ""));
    let of = rows.iter().filter_map(|row| Some((*row, row.latencies()?)));
    let curves: Vec<(&Row, Vec<(f64, Estimate)>)> = of
        .map(|(row, latencies)| {
            let furthest = -(1.0 - latencies.furthest()).log10();
            let steps = (0..=STEPS).map(|step| f64::from(step) / f64::from(STEPS) * furthest);
            (row, steps.map(|x| (x, latencies.at(1.0 - 10_f64.powf(-x)))).collect())
        })
        .collect();
    let ends = curves.iter().flat_map(|(_, curve)| curve.iter().flat_map(|(_, at)| [float(at.low), float(at.high)]));
    let y = Axis::around(ends, (bottom, top));
    y.rule_across(&mut svg, left, right);
    let x = |decades: f64| left + decades / 2.0 * (right - left);
    for (label, quantile) in [("fastest", 0.0), ("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99)]
    {
        let x = x(-(1.0_f64 - quantile).log10());
        svg.rule((x, top), (x, bottom));
        svg.text((x, bottom + 17.0), "middle", None, label);
    }
    svg.text(
        (f64::midpoint(left, right), bottom + 38.0),
        "middle small",
        None,
        "percentile; the band is its 95 % interval",
    );
    let known = colours(rows.iter().copied());
    let mut labels = Vec::new();
    for (row, curve) in &curves {
        let colour = colour_of(&known, &row.who);
        let points = |end: fn(&Estimate) -> u64| -> Vec<_> {
            curve.iter().map(|(decades, at)| (x(*decades), y.place(float(end(at))))).collect()
        };
        svg.band(&points(|at| at.low), &points(|at| at.high), colour);
        let line = points(|at| at.at);
        svg.curve(&line, colour, if row.is_floor() { "dashed" } else { "" });
        labels.extend(line.last().map(|(_, y)| (*y, *row, colour)));
    }
    labels.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    let mut free = top;
    let room = 31.0 * (f64::from(u32::try_from(labels.len()).unwrap_or(0)) - 0.5);
    for (index, (y, row, colour)) in labels.iter().enumerate() {
        let below = room - 31.0 * f64::from(u32::try_from(index).unwrap_or(0));
        let y = y.min(bottom + 31.0 - below).max(free);
        free = y + 31.0;
        svg.text((right + 10.0, y + 2.0), "start", Some(colour), &row.who);
        let latencies = row.latencies().expect("these rows have some");
        let far = latencies.furthest();
        let last = if far > 0.5 {
            format!(", p{:.0} {}", far * 100.0, time(float(latencies.at(far).at)))
        } else {
            String::new()
        };
        svg.text((right + 10.0, y + 16.0), "start small", None, &format!("p50 {}{last}", time(median(latencies))));
    }
    Some(svg)
}

/// What it costs when more of them listen: median with its band, and the furthest percentile.
fn growth(kind: &str, answer: &Answers) -> Option<Svg> {
    let counted = answer.rows.iter().filter_map(|row| Some((subscribers(&row.what)?, row)));
    let of_kind = counted.filter(|((_, of), row)| *of == kind && row.latencies().is_some());
    let rows: Vec<_> = of_kind.map(|((count, _), row)| (count, row)).collect();
    if rows.iter().all(|(count, _)| *count <= rows[0].0) {
        return None;
    }
    let (left, right, top, bottom) = (70.0, 70.0 + WIDTH, 52.0, 340.0);
    let names = longest(rows.iter().map(|(_, row)| &*row.who), 6.8);
    let mut svg = Svg::new(right + names + 20.0, 392.0);
    svg.text((left, 24.0), "start title", None, &format!("Subscribers: {kind}"));
    let of = |row: &Row, quantile: fn(&Latencies) -> f64| {
        row.latencies().map(|latencies| latencies.at(quantile(latencies))).expect("these rows have some")
    };
    let far: fn(&Latencies) -> f64 = Latencies::furthest;
    let values = rows.iter().flat_map(|(_, row)| [float(of(row, |_| 0.5).low), float(of(row, far).at)]);
    let y = Axis::around(values, (bottom, top));
    let x = Axis::around(rows.iter().map(|(count, _)| *count), (left, right));
    y.rule_across(&mut svg, left, right);
    x.rule_down(&mut svg, top, bottom, number);
    svg.text(
        (f64::midpoint(left, right), bottom + 38.0),
        "middle small",
        None,
        "subscribers; solid: p50, dotted: the tail",
    );
    let known = colours(rows.iter().map(|(_, row)| *row));
    let mut labels = Vec::new();
    for (who, colour) in &known {
        let own: Vec<_> = rows.iter().filter(|(_, row)| row.who == *who).collect();
        let points = |quantile: fn(&Latencies) -> f64, end: fn(Estimate) -> u64| -> Vec<_> {
            own.iter().map(|(count, row)| (x.place(*count), y.place(float(end(of(row, quantile)))))).collect()
        };
        svg.band(&points(|_| 0.5, |at| at.low), &points(|_| 0.5, |at| at.high), colour);
        svg.curve(&points(far, |at| at.at), colour, "thin");
        let medians = points(|_| 0.5, |at| at.at);
        svg.curve(&medians, colour, if *colour == FLOOR { "dashed" } else { "" });
        for point in &medians {
            svg.dot(*point, 3.0, colour);
        }
        labels.extend(medians.last().map(|(_, y)| (*y, *who, *colour)));
    }
    labels.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    let mut free = top;
    for (y, who, colour) in labels {
        let y = y.max(free);
        free = y + 16.0;
        svg.text((right + 10.0, y + 4.0), "start", Some(colour), who);
    }
    Some(svg)
}

/// A line for each of them: the median as a dot, with its tail, on one scale.
fn dots(title: &str, answers: &[&Answers], is_shown: fn(&Row) -> bool) -> Option<Svg> {
    let groups: Vec<(&str, Vec<&Row>)> = answers
        .iter()
        .flat_map(|answer| answer.whats().into_iter().map(move |what| (what, answer.of(what))))
        // How many they are has a picture of its own.
        .filter(|(what, _)| subscribers(what).is_none())
        .map(|(what, rows)| (what, rows.filter(|row| is_shown(row)).collect()))
        .filter(|(_, rows): &(&str, Vec<_>)| rows.len() > 1)
        .collect();
    let names = longest(groups.iter().flat_map(|(_, rows)| rows.iter().map(|row| &*row.who)), 6.2);
    let (left, top) = (names.max(200.0) + 24.0, 44.0);
    let right = left + WIDTH;
    let lines: usize = groups.iter().map(|(_, rows)| rows.len()).sum();
    if lines == 0 {
        return None;
    }
    let height = |count: usize| f64::from(u32::try_from(count).unwrap_or(0));
    let bottom = top + height(groups.len()) * 28.0 + height(lines) * 18.0 + 6.0;
    let mut svg = Svg::new(right + 80.0, bottom + 30.0);
    svg.text((16.0, 24.0), "start title", None, title);
    let spans = groups.iter().flat_map(|(_, rows)| rows.iter().filter_map(|row| span(row)));
    let x = Axis::around(spans.flat_map(|(at, far)| [at, far]), (left, right));
    x.rule_down(&mut svg, top, bottom, time);
    let known = colours(groups.iter().flat_map(|(_, rows)| rows.iter().copied()));
    let mut y = top;
    for (what, rows) in groups {
        y += 20.0;
        svg.text((16.0, y), "start", None, &what.replace('`', ""));
        y += 8.0;
        for row in rows {
            let colour = colour_of(&known, &row.who);
            let (at, far) = span(row).expect("the others were left out");
            y += 9.0;
            svg.curve(&[(x.place(at), y), (x.place(far), y)], colour, "range");
            svg.dot((x.place(at), y), 4.5, colour);
            svg.text((left - 12.0, y + 4.0), "end small", Some(colour), &row.who);
            svg.text((x.place(far) + 10.0, y + 4.0), "start small", None, &time(at));
            y += 9.0;
        }
    }
    Some(svg)
}

/// Time that somebody works, and not that something takes.
fn is_cost(row: &Row) -> bool {
    row.what.starts_with("processor time")
}

/// The median and the tail, in nanoseconds.
fn span(row: &Row) -> Option<(f64, f64)> {
    match &row.figure {
        Figure::Latencies(latencies) if !latencies.is_empty() => {
            Some((median(latencies), float(latencies.at(latencies.furthest()).at)))
        }
        Figure::Number { value, unit } => {
            let scale =
                [("ns", 1.0), ("µs", 1e3), ("ms", 1e6), ("s", 1e9)].into_iter().find(|(name, _)| name == unit)?.1;
            Some((value * scale, value * scale))
        }
        _ => None,
    }
}
