//! The last day as pictures: how much waited, and how long, with a table that says the same.
//!
//! Promises: a picture has at most one step for [`STEP_MINUTES`], with the worst of them, and nothing where nothing is known. It
//! is drawn without text, so that it may be stretched to any width; its title and description say it in words.

use std::fmt::Write as _;

use crate::history::{DAY_MINUTES, FlowCounts, FlowSample, MinuteOfDay};
use crate::log::age_in_words;

/// The minutes of one step.
const STEP_MINUTES: u64 = 5;
/// The height of a picture in its own units; its width is a unit a minute.
const HEIGHT: u64 = 100;
/// The hours of a row of the table.
const ROW_HOURS: u64 = 1;

/// A picture of the day.
pub(super) struct DayCurve {
    name: &'static str,
    title: &'static str,
    value: fn(&FlowSample) -> u64,
    words: fn(u64) -> String,
    /// The heights of which the picture takes the first that is enough; beyond them, multiples of the last one.
    scales: &'static [u64],
}

/// The number of messages that wait.
pub(super) const DEPTH: DayCurve = DayCurve {
    name: "depth",
    title: "Messages to be sent",
    value: |sample| sample.waiting,
    words: |messages| messages.to_string(),
    scales: &[
        10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000, 200_000, 500_000,
        1_000_000,
    ],
};

/// The age of the oldest of them.
pub(super) const AGE: DayCurve = DayCurve {
    name: "age",
    title: "Age of the oldest",
    value: |sample| sample.oldest_age,
    words: age_in_words,
    scales: &[60, 300, 600, 1800, 3600, 7200, 21_600, 43_200, 86_400],
};

/// Returns the part with these pictures and the table.
pub(super) fn curves(curves: &[&DayCurve], day: &[MinuteOfDay]) -> String {
    let figures: String = curves.iter().map(|curve| curve.figure(day)).collect();
    let legend = match day.iter().any(|minute| minute.sample.paused) {
        true => "Shaded: a relay was paused. ",
        false => "",
    };
    format!(
        "<section aria-labelledby=\"day\">\n<h2 id=\"day\">The last day</h2>\n<div class=\"curves\">\n{figures}</div>\n\
         <p class=\"soft\">{legend}Where nothing is drawn, nothing is known: nullmta did not run, or the host slept.</p>\n\
         {}</section>\n",
        table(day)
    )
}

impl DayCurve {
    fn figure(&self, day: &[MinuteOfDay]) -> String {
        let DayCurve { name, title, .. } = self;
        let highest = day.iter().map(|minute| (self.value)(&minute.sample)).max().unwrap_or(0);
        let now =
            day.last().filter(|minute| minute.minutes_ago <= 1).map(|minute| (self.value)(&minute.sample));
        let now = now.map_or("not known".to_owned(), self.words);
        let (highest_in_words, scale) = ((self.words)(highest), self.scale(highest));
        format!(
            "<figure>\n<figcaption><strong>{title}</strong><span>now {now}, at most {highest_in_words}</span></figcaption>\n\
             <p class=\"scale\" aria-hidden=\"true\">{}</p>\n\
             <svg viewBox=\"0 0 {DAY_MINUTES} {HEIGHT}\" preserveAspectRatio=\"none\" role=\"img\" \
             aria-labelledby=\"{name}-title {name}-words\">\n<title id=\"{name}-title\">{title}, over the last 24 hours</title>\n\
             <desc id=\"{name}-words\">Now {now}, at most {highest_in_words}. The table below has each hour.</desc>\n{}{}{}</svg>\n\
             <div class=\"axis\" aria-hidden=\"true\"><span>24 h ago</span><span>18 h</span><span>12 h</span><span>6 h</span>\
             <span>now</span></div>\n</figure>\n",
            (self.words)(scale),
            pauses(day),
            GRID,
            self.area(day, scale)
        )
    }

    /// Returns the value at the top of a picture whose highest value is this.
    fn scale(&self, highest: u64) -> u64 {
        let last = self.scales.last().copied().unwrap_or(1);
        self.scales
            .iter()
            .copied()
            .find(|scale| *scale >= highest)
            .unwrap_or_else(|| highest.next_multiple_of(last))
    }

    /// Returns the area below the curve, in steps; one for each time in which everything is known.
    fn area(&self, day: &[MinuteOfDay], scale: u64) -> String {
        let mut path = String::new();
        let mut end = None;
        for (step, value) in steps(day, self.value) {
            let (x, y) = (step * STEP_MINUTES, HEIGHT - value * HEIGHT / scale.max(1));
            // Writing to a string does not fail.
            let _ = match end {
                Some(before) if before == x => write!(path, "V{y}H{}", x + STEP_MINUTES),
                Some(_) => write!(path, "V{HEIGHT}ZM{x} {HEIGHT}V{y}H{}", x + STEP_MINUTES),
                None => write!(path, "M{x} {HEIGHT}V{y}H{}", x + STEP_MINUTES),
            };
            end = Some(x + STEP_MINUTES);
        }
        if path.is_empty() { path } else { format!("<path class=\"area\" d=\"{path}V{HEIGHT}Z\"/>\n") }
    }
}

/// The lines at half the height, and each six hours.
const GRID: &str = "<path class=\"grid\" d=\"M0 50H1440M360 0V100M720 0V100M1080 0V100\"/>\n";

/// Returns the steps of which something is known, from the left, each with the worst value of its minutes.
fn steps(day: &[MinuteOfDay], value: impl Fn(&FlowSample) -> u64) -> Vec<(u64, u64)> {
    let mut steps: Vec<(u64, u64)> = Vec::new();
    for minute in day.iter().filter(|minute| minute.minutes_ago < DAY_MINUTES) {
        let (step, value) = ((DAY_MINUTES - 1 - minute.minutes_ago) / STEP_MINUTES, value(&minute.sample));
        match steps.last_mut() {
            Some((last, worst)) if *last == step => *worst = value.max(*worst),
            _ => steps.push((step, value)),
        }
    }
    steps
}

/// Returns a rectangle for each time in which a relay was paused.
fn pauses(day: &[MinuteOfDay]) -> String {
    let paused = steps(day, |sample| sample.paused.into()).into_iter().filter(|(_, paused)| *paused > 0);
    let mut spans: Vec<(u64, u64)> = Vec::new();
    for (step, _) in paused {
        match spans.last_mut() {
            Some((_, end)) if *end == step => *end = step + 1,
            _ => spans.push((step, step + 1)),
        }
    }
    let rectangle = |(from, to): (u64, u64)| {
        let (x, width) = (from * STEP_MINUTES, (to - from) * STEP_MINUTES);
        format!("<rect class=\"pause\" x=\"{x}\" y=\"0\" width=\"{width}\" height=\"{HEIGHT}\"/>\n")
    };
    spans.into_iter().map(rectangle).collect()
}

/// Returns the table with a row for each hour of which something is known, the newest first.
fn table(day: &[MinuteOfDay]) -> String {
    let hours = (0..24 / ROW_HOURS).filter_map(|hour| {
        let of_hour =
            day.iter().filter(|minute| minute.minutes_ago / 60 == hour).map(|minute| &minute.sample);
        of_hour
            .fold(None, |sum: Option<HourRow>, sample| Some(sum.unwrap_or_default().and(sample)))
            .map(|row| (hour, row))
    });
    let rows: String = hours.map(|(hour, row)| row.in_html(hour)).collect();
    format!(
        "<details>\n<summary>The last day as a table</summary>\n<div class=\"wide\" tabindex=\"0\" role=\"region\" \
         aria-label=\"The last day as a table\">\n<table>\n<thead><tr><th scope=\"col\">Hours ago</th>\
         <th scope=\"col\">Most to be sent</th><th scope=\"col\">Greatest age</th><th scope=\"col\">Accepted</th>\
         <th scope=\"col\">Sent</th><th scope=\"col\">Deferred</th><th scope=\"col\">Bounced</th>\
         <th scope=\"col\">Minutes paused</th></tr></thead>\n<tbody>\n{rows}</tbody>\n</table>\n</div>\n</details>\n"
    )
}

/// An hour of the table.
#[derive(Default)]
struct HourRow {
    waiting: u64,
    oldest_age: u64,
    counts: FlowCounts,
    minutes_paused: u64,
}

impl HourRow {
    fn and(self, sample: &FlowSample) -> HourRow {
        HourRow {
            waiting: self.waiting.max(sample.waiting),
            oldest_age: self.oldest_age.max(sample.oldest_age),
            counts: self.counts.and(sample.counts),
            minutes_paused: self.minutes_paused + u64::from(sample.paused),
        }
    }

    fn in_html(&self, hour: u64) -> String {
        let HourRow { waiting, oldest_age, counts, minutes_paused } = self;
        let FlowCounts { accepted, sent, deferred, bounced, .. } = counts;
        let age = age_in_words(*oldest_age);
        format!(
            "<tr><th scope=\"row\">{hour} to {}</th><td>{waiting}</td><td>{age}</td><td>{accepted}</td><td>{sent}</td>\
             <td>{deferred}</td><td>{bounced}</td><td>{minutes_paused}</td></tr>\n",
            hour + 1
        )
    }
}
