//! Values of one key: how each type is read, bounded, written back and described.

use std::{cmp::Ordering, fmt, net::SocketAddr, path::PathBuf, time::Duration};

use serde_json::json;

use super::value::Value;

/// The type of a key that holds one value.
pub(crate) trait Leaf: Sized {
    /// What to write, for the remedy of a fault: `a duration such as "30s"`.
    fn expected() -> String;

    /// Reads a value; `Err` says what it is not.
    fn read(value: &Value) -> Result<Self, String>;

    /// As TOML; `None` when the key is left out.
    fn written(&self) -> Option<String>;

    /// The JSON schema of what may be written.
    fn schema() -> serde_json::Value;

    /// Order, for types that have bounds.
    fn order(&self, _other: &Self) -> Option<Ordering> {
        None
    }

    /// Whether `config show` hides it.
    fn secret() -> bool {
        false
    }
}

/// A number of octets, written `"64MiB"`, `"500KB"` or `4096`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

/// A text that is never shown or logged.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Size {
    #[must_use]
    pub const fn new(octets: u64) -> Self {
        Self(octets)
    }

    #[must_use]
    pub const fn mib(n: u64) -> Self {
        Self(n * 1024 * 1024)
    }

    /// As a length in memory. All bounds are below 4 GiB, so this never saturates in practice.
    #[must_use]
    pub fn octets(self) -> usize {
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

impl Secret {
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
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

macro_rules! integer_leaf {
    ($($type:ty),*) => {$(
        impl Leaf for $type {
            fn expected() -> String {
                "a whole number".to_owned()
            }

            fn read(value: &Value) -> Result<Self, String> {
                let number = match value {
                    Value::Integer(number) => Self::try_from(*number).ok(),
                    Value::Untyped(text) => text.trim().parse().ok(),
                    Value::Text(_)
                    | Value::Literal(_)
                    | Value::Boolean(_)
                    | Value::List(_)
                    | Value::Table(_) => None,
                };
                number.ok_or_else(|| format!("{} is not a whole number from 0 up", value.shown()))
            }

            fn written(&self) -> Option<String> {
                Some(self.to_string())
            }

            fn schema() -> serde_json::Value {
                json!({ "type": "integer", "minimum": 0 })
            }

            fn order(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }
    )*};
}

integer_leaf!(u8, u32, usize);

impl Leaf for bool {
    fn expected() -> String {
        "true or false".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::Boolean(boolean) => Ok(*boolean),
            Value::Untyped(text) if text == "true" || text == "1" => Ok(true),
            Value::Untyped(text) if text == "false" || text == "0" => Ok(false),
            Value::Text(_)
            | Value::Integer(_)
            | Value::Literal(_)
            | Value::List(_)
            | Value::Table(_)
            | Value::Untyped(_) => Err(format!("{} is neither true nor false", value.shown())),
        }
    }

    fn written(&self) -> Option<String> {
        Some(self.to_string())
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "boolean" })
    }
}

impl Leaf for String {
    fn expected() -> String {
        "a text that is not empty".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value.as_text() {
            Some("") => Err("the text is empty".to_owned()),
            Some(text) => Ok(text.to_owned()),
            None => Err(format!("{} is not a text", value.shown())),
        }
    }

    fn written(&self) -> Option<String> {
        Some(quote(self))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}

impl Leaf for Secret {
    fn expected() -> String {
        String::expected()
    }

    fn read(value: &Value) -> Result<Self, String> {
        // The value itself stays out of the message.
        String::read(value)
            .map(Self)
            .map_err(|_| "the secret is not a text or is empty".to_owned())
    }

    fn written(&self) -> Option<String> {
        Some(quote("(hidden)"))
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }

    fn secret() -> bool {
        true
    }
}

impl Leaf for PathBuf {
    fn expected() -> String {
        "a path, relative to the folder that the gateway is started in".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        String::read(value).map(Self::from)
    }

    fn written(&self) -> Option<String> {
        Some(quote(&self.to_string_lossy()))
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Leaf for SocketAddr {
    fn expected() -> String {
        "an address with a port, such as \"127.0.0.1:9090\" or \"[::]:9090\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let unreadable = || format!("{} is not an address with a port", value.shown());
        let text = value.as_text().ok_or_else(unreadable)?;
        let text = text
            .strip_prefix("localhost:")
            .map(|port| format!("127.0.0.1:{port}"));
        let text = text
            .as_deref()
            .or_else(|| value.as_text())
            .unwrap_or_default();
        text.parse().map_err(|_| unreadable())
    }

    fn written(&self) -> Option<String> {
        Some(quote(&self.to_string()))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^.+:[0-9]+$" })
    }
}

impl<T: Leaf> Leaf for Option<T> {
    fn expected() -> String {
        T::expected()
    }

    fn read(value: &Value) -> Result<Self, String> {
        T::read(value).map(Some)
    }

    fn written(&self) -> Option<String> {
        self.as_ref()?.written()
    }

    fn schema() -> serde_json::Value {
        T::schema()
    }

    fn order(&self, other: &Self) -> Option<Ordering> {
        self.as_ref()?.order(other.as_ref()?)
    }

    fn secret() -> bool {
        T::secret()
    }
}

impl<T: Leaf> Leaf for Vec<T> {
    fn expected() -> String {
        format!("a list, each item {}", T::expected())
    }

    fn read(value: &Value) -> Result<Self, String> {
        match value {
            Value::List(items) => items.iter().map(|item| T::read(&item.value)).collect(),
            Value::Untyped(text) => {
                let items = text
                    .split(',')
                    .map(str::trim)
                    .filter(|item| !item.is_empty());
                items
                    .map(|item| T::read(&Value::Untyped(item.to_owned())))
                    .collect()
            }
            Value::Text(_)
            | Value::Integer(_)
            | Value::Literal(_)
            | Value::Boolean(_)
            | Value::Table(_) => Err(format!("{} is not a list", value.shown())),
        }
    }

    fn written(&self) -> Option<String> {
        let items: Vec<_> = self.iter().filter_map(Leaf::written).collect();
        Some(format!("[{}]", items.join(", ")))
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "array", "items": T::schema() })
    }
}

/// An enum whose variants are written as words.
macro_rules! word_leaf {
    ($type:ty { $($variant:ident = $word:literal),* $(,)? }) => {
        impl $type {
            /// As it is written in the configuration.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $word),* }
            }
        }

        impl $crate::config::leaf::Leaf for $type {
            fn expected() -> String {
                let words = [$($word),*];
                format!("one of {}", words.map(|word| format!("\"{word}\"")).join(", "))
            }

            fn read(value: &$crate::config::value::Value) -> Result<Self, String> {
                match value.as_text() {
                    $(Some($word) => Ok(Self::$variant),)*
                    _ => Err(format!("{} is not known here", value.shown())),
                }
            }

            fn written(&self) -> Option<String> {
                Some(format!("\"{}\"", self.name()))
            }

            fn schema() -> serde_json::Value {
                serde_json::json!({ "enum": [$($word),*] })
            }
        }
    };
}
pub(crate) use word_leaf;

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

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
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

    #[test]
    fn reads_lists_and_numbers_from_the_environment() {
        let untyped = |text: &str| Value::Untyped(text.to_owned());
        assert_eq!(
            Vec::<String>::read(&untyped("a, b")),
            Ok(vec!["a".into(), "b".into()])
        );
        assert_eq!(u32::read(&untyped("12")), Ok(12));
        assert!(u32::read(&untyped("-12")).is_err());
        assert_eq!(bool::read(&untyped("false")), Ok(false));
        assert!(
            u32::read(&Value::Text("12".into())).is_err(),
            "a TOML text is no number"
        );
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Secret::read(&Value::Text("hunter2".into())).expect("a text");
        assert!(!format!("{secret:?}").contains("hunter2"));
        assert_eq!(secret.written().as_deref(), Some("\"(hidden)\""));
        assert_eq!(secret.expose(), "hunter2");
    }
}
