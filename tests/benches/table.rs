//! The one table: what was measured, ours, theirs, the ratio, and the goal where there is one.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    time::Duration,
};

/// Rows in the order of their measuring.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    ours: String,
    theirs: String,
    ratio: String,
    goal: String,
    verdict: &'static str,
}

/// What a figure ought to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
    None,
}

impl Goal {
    fn text(self) -> String {
        match self {
            Self::AtLeast(limit) => format!(">= {limit}"),
            Self::AtMost(limit) => format!("<= {limit}"),
            Self::None => String::new(),
        }
    }

    fn verdict(self, value: f64) -> &'static str {
        let is_met = match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
            Self::None => return "",
        };
        if is_met { "met" } else { "missed" }
    }
}

impl Table {
    /// A comparison; `ratio` is compared with the goal.
    pub(crate) fn compare(
        &mut self,
        what: impl Into<String>,
        ours: String,
        theirs: String,
        ratio: f64,
        goal: Goal,
    ) {
        let row = Row {
            what: what.into(),
            ours,
            theirs,
            ratio: format!("{ratio:.2}"),
            goal: goal.text(),
            verdict: goal.verdict(ratio),
        };
        self.push(row);
    }

    /// A figure of its own; `value`, in the unit that `ours` shows, is compared with the goal.
    pub(crate) fn figure(&mut self, what: impl Into<String>, ours: String, value: f64, goal: Goal) {
        let (theirs, ratio) = (String::new(), String::new());
        let verdict = goal.verdict(value);
        self.push(Row {
            what: what.into(),
            ours,
            theirs,
            ratio,
            goal: goal.text(),
            verdict,
        });
    }

    /// Rows whose goal was missed.
    pub(crate) fn n_missed(&self) -> usize {
        self.rows
            .iter()
            .filter(|row| row.verdict == "missed")
            .count()
    }

    /// Prints everything, columns aligned.
    pub(crate) fn print(&self, out: &mut impl io::Write) -> io::Result<()> {
        let heads = ["what", "ours", "peer", "ratio", "goal", ""].map(str::to_owned);
        let lines: Vec<_> = [heads]
            .into_iter()
            .chain(self.rows.iter().map(Row::cells))
            .collect();
        let mut widths = [0; 6];
        for line in &lines {
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for line in &lines {
            let mut text = String::new();
            for (index, (width, cell)) in widths.iter().zip(line).enumerate() {
                // Writing to a `String` cannot fail.
                let _ = match index {
                    0 | 5 => write!(text, "{cell:<width$}  "),
                    _ => write!(text, "{cell:>width$}  "),
                };
            }
            writeln!(out, "{}", text.trim_end())?;
        }
        Ok(())
    }

    fn push(&mut self, row: Row) {
        progress(&format!("{}: {} {}", row.what, row.ours, row.theirs));
        self.rows.push(row);
    }
}

/// Says what is going on. Progress that cannot be shown is not worth an error.
pub(crate) fn progress(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let Self {
            what,
            ours,
            theirs,
            ratio,
            goal,
            verdict,
        } = self;
        [
            what.clone(),
            ours.clone(),
            theirs.clone(),
            ratio.clone(),
            goal.clone(),
            (*verdict).to_owned(),
        ]
    }
}

/// A duration in the unit that shows three digits of it.
pub(crate) fn show(duration: Duration) -> String {
    let ns = duration.as_secs_f64() * 1e9;
    match ns {
        ..1e3 => format!("{ns:.0} ns"),
        ..1e6 => format!("{:.2} us", ns / 1e3),
        ..1e9 => format!("{:.2} ms", ns / 1e6),
        _ => format!("{:.2} s", ns / 1e9),
    }
}

/// How many times `a` is `b`.
pub(crate) fn ratio(a: Duration, b: Duration) -> f64 {
    a.as_secs_f64() / b.as_secs_f64().max(1e-12)
}
