//! `grpc-timeout`: how long the caller waits. `grpc/doc/PROTOCOL-HTTP2.md`, "Timeout". Pure.

use std::time::Duration;

/// Why a value is no timeout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("grpc-timeout {value:?} is not 1 to {DIGITS_MAX} digits and one of H, M, S, m, u and n")]
pub(crate) struct TimeoutError {
    value: String,
}

/// Reads a value of `grpc-timeout`. The longest are 11,415 years.
///
/// # Errors
/// Where it is none, with its first characters.
pub(crate) fn read_timeout(value: &[u8]) -> Result<Duration, TimeoutError> {
    parse(value).ok_or_else(|| TimeoutError {
        value: String::from_utf8_lossy(value)
            .chars()
            .take(SHOWN_CHARS_MAX)
            .collect(),
    })
}

fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    let is_number = (1..=DIGITS_MAX).contains(&digits.len());
    if !is_number || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: u64 = str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(number * 3600),
        b'M' => Duration::from_secs(number * 60),
        b'S' => Duration::from_secs(number),
        b'm' => Duration::from_millis(number),
        b'u' => Duration::from_micros(number),
        b'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// "at most 8 digits"
const DIGITS_MAX: usize = 8;
const SHOWN_CHARS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_read() {
        for (value, expected) in [
            ("2H", Duration::from_secs(7200)),
            ("3M", Duration::from_secs(180)),
            ("5S", Duration::from_secs(5)),
            ("4999m", Duration::from_millis(4999)),
            ("10u", Duration::from_micros(10)),
            ("7n", Duration::from_nanos(7)),
            ("0m", Duration::ZERO),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
        ] {
            assert_eq!(read_timeout(value.as_bytes()), Ok(expected), "{value}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for value in [
            "",
            "S",
            "5",
            "5s",
            "123456789m",
            "-1S",
            "+1S",
            "1 S",
            "1.5S",
            "5Sm",
            "\u{b2}S",
        ] {
            assert!(read_timeout(value.as_bytes()).is_err(), "{value}");
        }
        let error = read_timeout(&[b'x'; 100]).expect_err("no timeout");
        assert_eq!(error.value.len(), SHOWN_CHARS_MAX);
    }
}
