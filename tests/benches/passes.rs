//! Figures of rounds that were taken in passes: one round of each thing, then the next of each.

use std::time::Duration;

use crate::table::show;

/// The rounds of all passes. What else the machine does, and how fast it is at the time, meets the
/// rounds of one pass alike; so what is compared is compared within a pass, and the median over all
/// passes counts.
pub(crate) struct Passes<R>(pub(crate) Vec<R>);

impl<R> Passes<R> {
    pub(crate) fn median(&self, value: impl Fn(&R) -> f64) -> f64 {
        let mut values: Vec<f64> = self.0.iter().map(value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    /// The median of seconds, as text.
    pub(crate) fn median_time(&self, seconds: impl Fn(&R) -> f64) -> String {
        show(Duration::from_secs_f64(self.median(seconds).max(0.0)))
    }
}
