//! Options of the commands for keys.

use super::{
    arguments::{RespError, count, integer, is, shown},
    request::RespRequest,
};

/// When a key ends, as a request says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// From now on, in milliseconds.
    In(i64),
    /// Milliseconds since 1970.
    At(i64),
}

/// Whether a key is set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum SetCondition {
    #[default]
    Always,
    IfAbsent,
    IfPresent,
}

/// Options of `SET`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SetOptions {
    pub condition: SetCondition,
    /// Whether the value before is asked for.
    pub gets: bool,
    pub keeps_expiry: bool,
    pub expiry: Option<Expiry>,
}

/// Options of `GETEX`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GetExOptions {
    pub persists: bool,
    pub expiry: Option<Expiry>,
}

/// When `EXPIRE` sets the end of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpireOptions {
    /// Only where it has none.
    pub if_none: bool,
    /// Only where it has one.
    pub if_some: bool,
    /// Only later than it is.
    pub if_later: bool,
    /// Only earlier than it is.
    pub if_earlier: bool,
}

/// Options of `SCAN`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanOptions<'r> {
    pub cursor: u64,
    pub pattern: Option<&'r [u8]>,
    /// Keys that are looked at.
    pub count: usize,
    pub kind: Option<&'r [u8]>,
}

/// Unit and kind of an expiry's number.
#[derive(Clone, Copy)]
enum ExpiryForm {
    Seconds,
    Milliseconds,
    AtSeconds,
    AtMilliseconds,
}

impl Expiry {
    /// From a number of seconds or milliseconds, as `command` takes it.
    ///
    /// # Errors
    /// What is no number, not above zero, or too far away.
    pub fn of_seconds(octets: &[u8], command: &str) -> Result<Self, RespError> {
        ExpiryForm::Seconds.read(octets, command)
    }

    /// As `of_seconds`.
    ///
    /// # Errors
    /// As `of_seconds`.
    pub fn of_milliseconds(octets: &[u8], command: &str) -> Result<Self, RespError> {
        ExpiryForm::Milliseconds.read(octets, command)
    }

    /// For `EXPIRE` and its kin, to which zero and less is a time that has passed.
    ///
    /// # Errors
    /// What is no number, or too far away.
    pub fn of_any(
        octets: &[u8],
        is_seconds: bool,
        is_absolute: bool,
        command: &str,
    ) -> Result<Self, RespError> {
        let number = integer(octets)?;
        let unit = if is_seconds { 1000 } else { 1 };
        let ms = number.checked_mul(unit);
        let ms = ms.ok_or_else(|| RespError::invalid_expiry(command))?;
        Ok(if is_absolute {
            Self::At(ms)
        } else {
            Self::In(ms)
        })
    }

    /// Milliseconds since 1970, where it is `now_ms`.
    ///
    /// # Errors
    /// What is too far away.
    pub fn at(self, now_ms: u64, command: &str) -> Result<i64, RespError> {
        match self {
            Self::At(ms) => Ok(ms),
            Self::In(ms) => {
                let now = i64::try_from(now_ms).unwrap_or(i64::MAX);
                let at = ms.checked_add(now);
                at.ok_or_else(|| RespError::invalid_expiry(command))
            }
        }
    }
}

impl ExpiryForm {
    fn of(word: &[u8]) -> Option<Self> {
        let forms = [
            ("EX", Self::Seconds),
            ("PX", Self::Milliseconds),
            ("EXAT", Self::AtSeconds),
            ("PXAT", Self::AtMilliseconds),
        ];
        let found = forms.into_iter().find(|(name, _)| is(word, name));
        found.map(|(_, form)| form)
    }

    fn read(self, octets: &[u8], command: &str) -> Result<Expiry, RespError> {
        let number = integer(octets)?;
        let (unit, is_absolute) = match self {
            Self::Seconds => (1000, false),
            Self::Milliseconds => (1, false),
            Self::AtSeconds => (1000, true),
            Self::AtMilliseconds => (1, true),
        };
        let ms = Some(number).filter(|number| *number > 0);
        let ms = ms.and_then(|number| number.checked_mul(unit));
        let ms = ms.ok_or_else(|| RespError::invalid_expiry(command))?;
        Ok(match is_absolute {
            true => Expiry::At(ms),
            false => Expiry::In(ms),
        })
    }
}

impl SetOptions {
    /// Those behind the key and the value.
    ///
    /// # Errors
    /// As Redis says it.
    pub fn read(request: &RespRequest) -> Result<Self, RespError> {
        let mut options = Self::default();
        let mut expiry = None;
        let mut idx = 3;
        while let Some(word) = request.try_octets(idx) {
            let next = request.try_octets(idx + 1);
            let form = ExpiryForm::of(word);
            if is(word, "NX") && options.condition != SetCondition::IfPresent {
                options.condition = SetCondition::IfAbsent;
            } else if is(word, "XX") && options.condition != SetCondition::IfAbsent {
                options.condition = SetCondition::IfPresent;
            } else if is(word, "GET") {
                options.gets = true;
            } else if is(word, "KEEPTTL") && expiry.is_none() {
                options.keeps_expiry = true;
            } else if let (Some(form), Some(next)) = (form, next)
                && !options.keeps_expiry
                && expiry.is_none()
            {
                expiry = Some((form, next));
                idx += 1;
            } else {
                return Err(RespError::SYNTAX);
            }
            idx += 1;
        }
        if let Some((form, number)) = expiry {
            options.expiry = Some(form.read(number, "set")?);
        }
        Ok(options)
    }
}

impl GetExOptions {
    /// Those behind the key.
    ///
    /// # Errors
    /// As Redis says it.
    pub fn read(request: &RespRequest) -> Result<Self, RespError> {
        let mut options = Self::default();
        let mut expiry = None;
        let mut idx = 2;
        while let Some(word) = request.try_octets(idx) {
            let next = request.try_octets(idx + 1);
            let form = ExpiryForm::of(word);
            if is(word, "PERSIST") && expiry.is_none() {
                options.persists = true;
            } else if let (Some(form), Some(next)) = (form, next)
                && !options.persists
                && expiry.is_none()
            {
                expiry = Some((form, next));
                idx += 1;
            } else {
                return Err(RespError::SYNTAX);
            }
            idx += 1;
        }
        if let Some((form, number)) = expiry {
            options.expiry = Some(form.read(number, "getex")?);
        }
        Ok(options)
    }
}

impl ExpireOptions {
    /// Those behind the key and the time.
    ///
    /// # Errors
    /// As Redis says it.
    pub fn read(request: &RespRequest) -> Result<Self, RespError> {
        let mut options = Self::default();
        for word in request.rest(3) {
            let option = if is(word, "NX") {
                &mut options.if_none
            } else if is(word, "XX") {
                &mut options.if_some
            } else if is(word, "GT") {
                &mut options.if_later
            } else if is(word, "LT") {
                &mut options.if_earlier
            } else {
                return Err(RespError::new(format!(
                    "ERR Unsupported option {}",
                    shown(word)
                )));
            };
            *option = true;
        }
        if options.if_none && (options.if_some || options.if_later || options.if_earlier) {
            return Err(RespError::fixed(
                "ERR NX and XX, GT or LT options at the same time are not compatible",
            ));
        }
        match options.if_later && options.if_earlier {
            true => Err(RespError::fixed(
                "ERR GT and LT options at the same time are not compatible",
            )),
            false => Ok(options),
        }
    }

    /// Whether a key that ends at `before` is made to end at `after`.
    #[must_use]
    pub fn allow(self, before: Option<i64>, after: i64) -> bool {
        // Without an end it lasts longer than with any.
        !(self.if_none && before.is_some()
            || self.if_some && before.is_none()
            || self.if_later && before.is_none_or(|before| after <= before)
            || self.if_earlier && before.is_some_and(|before| after >= before))
    }
}

impl<'r> ScanOptions<'r> {
    /// # Errors
    /// As Redis says it.
    pub fn read(request: &'r RespRequest) -> Result<Self, RespError> {
        let cursor = std::str::from_utf8(request.octets(1));
        let cursor = cursor.ok().and_then(|text| text.parse().ok());
        let mut options = Self {
            cursor: cursor.ok_or(RespError::INVALID_CURSOR)?,
            pattern: None,
            count: SCAN_COUNT,
            kind: None,
        };
        let mut idx = 2;
        while let Some(word) = request.try_octets(idx) {
            let next = request.try_octets(idx + 1).ok_or(RespError::SYNTAX)?;
            if is(word, "MATCH") {
                options.pattern = Some(next);
            } else if is(word, "COUNT") {
                options.count = match integer(next)? {
                    ..1 => return Err(RespError::SYNTAX),
                    _ => count(next)?,
                };
            } else if is(word, "TYPE") {
                options.kind = Some(next);
            } else {
                return Err(RespError::SYNTAX);
            }
            idx += 2;
        }
        Ok(options)
    }
}

/// Redis: keys that `SCAN` looks at where nothing is said.
const SCAN_COUNT: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn set(line: &str, expected: Result<SetOptions, &str>) {
        let request = RespRequest::of(line.split(' '));
        let found = SetOptions::read(&request).map_err(|error| error.0.into_owned());
        assert_eq!(found, expected.map_err(str::to_owned), "{line}");
    }

    #[test]
    fn set_takes_one_condition_and_one_end() {
        let none = SetOptions::default();
        set("SET k v", Ok(none));
        let condition = SetCondition::IfAbsent;
        let gets = true;
        set(
            "SET k v nx GET",
            Ok(SetOptions {
                condition,
                gets,
                ..none
            }),
        );
        let expiry = Some(Expiry::In(10_000));
        set("SET k v EX 10", Ok(SetOptions { expiry, ..none }));
        let expiry = Some(Expiry::At(7));
        set("SET k v PXAT 7", Ok(SetOptions { expiry, ..none }));
        for wrong in [
            "NX XX",
            "EX",
            "EX 1 PX 1",
            "KEEPTTL EX 1",
            "EX 1 KEEPTTL",
            "FOO",
        ] {
            set(&format!("SET k v {wrong}"), Err("ERR syntax error"));
        }
    }

    #[test]
    fn an_end_is_a_number_above_zero_that_can_be_reached() {
        let integer = "ERR value is not an integer or out of range";
        set("SET k v EX x", Err(integer));
        let invalid = "ERR invalid expire time in 'set' command";
        for wrong in ["EX 0", "PX -1", "EX 9223372036854775807"] {
            set(&format!("SET k v {wrong}"), Err(invalid));
        }
        let far = Expiry::In(i64::MAX).at(1, "set");
        assert_eq!(far, Err(RespError::invalid_expiry("set")));
    }

    #[test]
    fn expire_is_bound_to_what_there_was() {
        let options = |line: &str| ExpireOptions::read(&RespRequest::of(line.split(' ')));
        let later = options("EXPIRE k 1 GT").expect("good");
        assert!(later.allow(Some(1), 2) && !later.allow(Some(2), 2) && !later.allow(None, 2));
        let earlier = options("EXPIRE k 1 LT").expect("good");
        assert!(earlier.allow(Some(3), 2) && earlier.allow(None, 2) && !earlier.allow(Some(2), 2));
        let first = options("EXPIRE k 1 NX").expect("good");
        assert!(first.allow(None, 1) && !first.allow(Some(1), 2));
        assert!(options("EXPIRE k 1 NX GT").is_err() && options("EXPIRE k 1 GT LT").is_err());
        let error = options("EXPIRE k 1 foo").expect_err("unknown");
        assert_eq!(error.0, "ERR Unsupported option foo");
    }

    #[test]
    fn scan_reads_its_pairs() {
        let request = RespRequest::of(["SCAN", "17", "match", "a*", "COUNT", "5"]);
        let options = ScanOptions::read(&request).expect("good");
        let expected = (17, Some(&b"a*"[..]), 5);
        assert_eq!((options.cursor, options.pattern, options.count), expected);
        let error = |line: &str| {
            let request = RespRequest::of(line.split(' '));
            ScanOptions::read(&request).map(|_| ()).expect_err("wrong")
        };
        assert_eq!(error("SCAN x"), RespError::INVALID_CURSOR);
        assert_eq!(error("SCAN 0 COUNT 0"), RespError::SYNTAX);
        assert_eq!(error("SCAN 0 COUNT"), RespError::SYNTAX);
    }
}
