//! Values of one key: how each type is read, bounded, written back and described.

use std::{cmp::Ordering, fmt, net::SocketAddr, path::PathBuf};

use serde_json::json;

use super::value::Value;

/// The type of a key that holds one value.
pub(crate) trait Leaf: Sized {
    /// What to write, for the remedy of a fault: `a duration such as "30s"`.
    fn expected() -> String;

    /// Reads a value; `Err` says what it is not.
    fn read(value: &Value) -> Result<Self, String>;

    /// As TOML, with secrets hidden; `None` when the key is left out.
    fn written(&self) -> Option<String>;

    /// The JSON schema of what may be written.
    fn schema() -> serde_json::Value;

    /// Order, for types that have bounds.
    fn order(&self, _other: &Self) -> Option<Ordering> {
        None
    }
}

/// A text that is never shown or logged.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    #[must_use]
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
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
            pub(crate) const fn name(self) -> &'static str {
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

/// Whether a text is a token of RFC 9110 section 5.6.2: the name of a header or of a method.
pub(crate) fn is_token(text: &str) -> bool {
    let is_of_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
    (1..=255).contains(&text.len()) && text.bytes().all(is_of_token)
}

/// Whether a text is the name of a host (RFC 1123 section 2.1); underscores are taken, too.
pub(crate) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        let is_legal = |c: u8| c.is_ascii_alphanumeric() || c == b'-' || c == b'_';
        (1..=63).contains(&label.len())
            && label.bytes().all(is_legal)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_label)
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
