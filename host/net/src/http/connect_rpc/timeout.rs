//! `connect-timeout-ms`: how long a caller waits.

use std::time::Duration;

use http::HeaderMap;
use postern_core::Error;

/// The time that a caller gives its call; `None` where it says nothing and waits for ever.
///
/// Zero is taken: what a client has left may round to it.
///
/// # Errors
/// `invalid-argument` for anything but one to ten digits (Connect protocol, "Timeout-Milliseconds").
pub(super) fn of(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get(TIMEOUT) else {
        return Ok(None);
    };
    let digits = value.as_bytes();
    let is_number =
        (1..=DIGITS_MAX).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    let number = value.to_str().ok().filter(|_| is_number);
    let timeout = number.and_then(|number| number.parse().ok());
    match timeout {
        Some(milliseconds) => Ok(Some(Duration::from_millis(milliseconds))),
        None => Err(Error::invalid_argument(format!(
            "{TIMEOUT} {value:?} is not a number of milliseconds of 1 to {DIGITS_MAX} digits"
        ))),
    }
}

const TIMEOUT: &str = "connect-timeout-ms";
/// More than 100 days.
const DIGITS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<u64>) {
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_str(value).expect("a value"));
        let timeout = of(&headers).ok().flatten();
        assert_eq!(timeout, expected.map(Duration::from_millis), "{value}");
    }

    #[test]
    fn a_timeout_is_one_to_ten_digits() {
        check("5000", Some(5000));
        check("0", Some(0));
        check("9999999999", Some(9_999_999_999));
        for value in ["", "10000000000", "-1", "+1", "1.5", "5s", " 5", "0x5"] {
            check(value, None);
        }
    }

    #[test]
    fn who_says_nothing_waits_for_ever_and_who_says_nonsense_is_told() {
        assert_eq!(of(&HeaderMap::new()).expect("nothing is said"), None);
        let mut headers = HeaderMap::new();
        headers.insert(TIMEOUT, HeaderValue::from_static("soon"));
        assert_eq!(
            of(&headers).expect_err("no number").message,
            "connect-timeout-ms \"soon\" is not a number of milliseconds of 1 to 10 digits"
        );
    }
}
