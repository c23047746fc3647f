//! Values with a unit: durations and sizes.

use std::{cmp::Ordering, fmt, time::Duration};

use serde_json::json;

use super::{leaf::Leaf, value::Value};

/// A number of octets, written `"64MiB"`, `"500KB"` or `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Size(u64);

impl Size {
    #[must_use]
    pub(crate) const fn new(octets: u64) -> Self {
        Self(octets)
    }

    #[must_use]
    pub(crate) const fn kib(n: u64) -> Self {
        Self(n * 1024)
    }

    pub(crate) const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// As a length in memory. Saturates where that has 32 bits.
    #[must_use]
    pub(crate) fn octets(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        let fits = |unit: &(u64, _)| self.0 >= unit.0 && self.0.is_multiple_of(unit.0);
        match units.iter().find(|unit| fits(unit)) {
            Some((unit, name)) => write!(f, "{}{name}", self.0 / unit),
            None => write!(f, "{}B", self.0),
        }
    }
}

impl Leaf for Duration {
    fn expected() -> String {
        "a duration such as \"250ms\", \"30s\", \"5m\" or \"1h\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        if let Value::Integer(number) = value {
            return Err(format!("{number} has no unit"));
        }
        let unreadable = || format!("{} is not a duration", value.shown());
        let (number, unit) = split_unit(value.as_text().ok_or_else(unreadable)?);
        let factor_us = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" | "min" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return Err(unreadable()),
        };
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        number
            .checked_mul(factor_us)
            .map(Self::from_micros)
            .ok_or_else(unreadable)
    }

    fn written(&self) -> Option<String> {
        Some(format!("\"{}\"", show_duration(*self)))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[0-9]+ *(us|ms|s|m|min|h|d)$" })
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Leaf for Size {
    fn expected() -> String {
        "a size such as \"64MiB\", \"512KiB\" or a number of octets".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unreadable = || format!("{} is not a size", value.shown());
        if let Value::Integer(number) = value {
            return u64::try_from(*number).map(Self).map_err(|_| unreadable());
        }
        let (number, unit) = split_unit(value.as_text().ok_or_else(unreadable)?);
        let factor = match unit {
            "" | "B" => 1,
            "KB" | "kB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(unreadable()),
        };
        let number: u64 = number.parse().map_err(|_| unreadable())?;
        number.checked_mul(factor).map(Self).ok_or_else(unreadable)
    }

    fn written(&self) -> Option<String> {
        Some(format!("\"{self}\""))
    }

    fn schema() -> serde_json::Value {
        json!({
            "type": ["string", "integer"],
            "minimum": 0,
            "pattern": "^[0-9]+ *(B|[kK]B|MB|GB|KiB|MiB|GiB)?$",
        })
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Reads a duration as the configuration does: `250ms`, `30s`, `5m`.
///
/// # Errors
/// What is wrong with it and what to write.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let read = Duration::read(&Value::Untyped(text.to_owned()));
    read.map_err(|message| format!("{message}; write {}", Duration::expected()))
}

/// A duration in the largest unit that holds it exactly.
pub(crate) fn show_duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    let units = [
        (3_600_000_000, "h"),
        (60_000_000, "m"),
        (1_000_000, "s"),
        (1_000, "ms"),
    ];
    match units
        .iter()
        .find(|(unit, _)| micros >= *unit && micros.is_multiple_of(*unit))
    {
        Some((unit, name)) => format!("{}{name}", micros / unit),
        None if micros == 0 => "0s".to_owned(),
        None => format!("{micros}us"),
    }
}

/// `"30 s"` is `("30", "s")`.
fn split_unit(text: &str) -> (&str, &str) {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: Leaf + PartialEq + fmt::Debug>(text: &str, expected: Option<T>) {
        assert_eq!(
            T::read(&Value::Text(text.to_owned())).ok(),
            expected,
            "{text}"
        );
    }

    #[test]
    fn reads_durations_with_their_units() {
        check("250ms", Some(Duration::from_millis(250)));
        check("30s", Some(Duration::from_secs(30)));
        check("5 m", Some(Duration::from_secs(300)));
        check("1h", Some(Duration::from_secs(3600)));
        check("0s", Some(Duration::ZERO));
        check::<Duration>("30", None);
        check::<Duration>("s", None);
        check::<Duration>("-1s", None);
        check::<Duration>("1.5s", None);
        check::<Duration>("18446744073709551615h", None);
    }

    #[test]
    fn reads_sizes_with_their_units() {
        check("64MiB", Some(Size::mib(64)));
        check("1 KiB", Some(Size::new(1024)));
        check("1KB", Some(Size::new(1000)));
        check("7", Some(Size::new(7)));
        check::<Size>("64mib", None);
        check::<Size>("99999999999GiB", None);
        assert_eq!(Size::read(&Value::Integer(4096)), Ok(Size::new(4096)));
        assert!(Size::read(&Value::Integer(-1)).is_err());
    }

    #[test]
    fn writes_what_it_reads() {
        for text in ["250ms", "30s", "90s", "5m", "1h", "0s", "15us"] {
            let duration = Duration::read(&Value::Text(text.to_owned())).expect("valid");
            assert_eq!(show_duration(duration), text);
        }
        for text in ["64MiB", "1KiB", "1500B", "3GiB", "0B"] {
            let size = Size::read(&Value::Text(text.to_owned())).expect("valid");
            assert_eq!(size.to_string(), text);
        }
    }
}
