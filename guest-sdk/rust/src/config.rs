//! The table `config` of the plugin's manifest.

use serde::de::{
    DeserializeOwned,
    value::{Error, StrDeserializer},
};

use crate::{failure::Failure, host};

/// A value as the host keeps it: text as it is, everything else as JSON.
#[must_use]
pub fn text(key: &str) -> Option<String> {
    host::config_get(key)
}

/// A value, read as text where `T` can be made of text, otherwise as JSON; `None` when the key is
/// absent.
///
/// # Errors
/// `failed-precondition` when the value is not a `T`: the operator has to correct the manifest.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Failure> {
    let Some(text) = text(key) else {
        return Ok(None);
    };
    if let Ok(value) = T::deserialize(StrDeserializer::<Error>::new(&text)) {
        return Ok(Some(value));
    }
    let value = serde_json::from_str(&text).map_err(|error| {
        Failure::failed_precondition(format!("config key `{key}` has value `{text}`: {error}"))
    })?;
    Ok(Some(value))
}

/// A value that must be there.
///
/// # Errors
/// `failed-precondition` when the key is absent or its value is not a `T`.
pub fn require<T: DeserializeOwned>(key: &str) -> Result<T, Failure> {
    get(key)?.ok_or_else(|| Failure::failed_precondition(format!("config key `{key}` is missing")))
}

/// All keys and values in the order of their keys.
#[must_use]
pub fn all() -> Vec<(String, String)> {
    host::config_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Kind, fake::Host};

    #[derive(Debug, PartialEq, serde::Deserialize)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        ReadOnly,
    }

    #[test]
    fn values_are_read_as_what_is_asked_for() {
        let host = Host::new();
        host.config("name", "42")
            .config("limit", "42")
            .config("mode", "read-only");
        host.config("on", "true").config("list", r#"["a","b"]"#);
        assert_eq!(get("name"), Ok(Some("42".to_owned())));
        assert_eq!(get("limit"), Ok(Some(42_u8)));
        assert_eq!(get("mode"), Ok(Some(Mode::ReadOnly)));
        assert_eq!(get("on"), Ok(Some(true)));
        assert_eq!(get("list"), Ok(Some(vec!["a".to_owned(), "b".to_owned()])));
        assert_eq!(get::<u8>("absent"), Ok(None));
    }

    #[test]
    fn a_value_of_another_type_names_key_and_value() {
        let host = Host::new();
        host.config("limit", "256");
        let failure = get::<u8>("limit").unwrap_err();
        assert_eq!(failure.kind, Kind::FailedPrecondition);
        assert!(
            failure
                .message
                .starts_with("config key `limit` has value `256`: "),
            "{failure}"
        );
        assert_eq!(
            require::<u8>("absent").unwrap_err().message,
            "config key `absent` is missing"
        );
    }

    #[test]
    fn all_is_ordered_by_key() {
        let host = Host::new();
        host.config("b", "2").config("a", "1");
        assert_eq!(all(), [("a".into(), "1".into()), ("b".into(), "2".into())]);
    }
}
