//! How a message becomes a value: serde types as JSON, [`Octets`] as they are.

use std::{any::type_name, fmt, ops::Deref};

use serde::{Serialize, de::DeserializeOwned};

use crate::failure::Failure;

/// A message without a format, moved in and out without a copy.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Octets(pub Vec<u8>);

/// What a message can be read as.
pub trait Decode: Sized {
    /// Reads a message. No octets at all read as `null` or, where that does not fit, as `{}`: a
    /// request of optional fields may be left out.
    ///
    /// # Errors
    /// `invalid-argument`, with line and column, when the message is not a JSON value of this type.
    fn decode(message: Vec<u8>) -> Result<Self, Failure>;
}

/// What can be written as a message.
pub trait Encode {
    /// Writes a message.
    ///
    /// # Errors
    /// `internal` when the value has no form in JSON, such as a map whose keys are not text.
    fn encode(self) -> Result<Vec<u8>, Failure>;
}

impl<T: DeserializeOwned> Decode for T {
    fn decode(message: Vec<u8>) -> Result<Self, Failure> {
        let value = if message.is_empty() {
            serde_json::from_slice(b"null").or_else(|_| serde_json::from_slice(b"{}"))
        } else {
            serde_json::from_slice(&message)
        };
        value.map_err(|error| {
            let name = short_name(type_name::<T>());
            Failure::invalid_argument(format!("message is not a valid `{name}`: {error}"))
        })
    }
}

impl<T: Serialize> Encode for T {
    fn encode(self) -> Result<Vec<u8>, Failure> {
        serde_json::to_vec(&self).map_err(|error| {
            let name = short_name(type_name::<T>());
            Failure::internal(format!("`{name}` cannot be written as JSON: {error}"))
        })
    }
}

impl Decode for Octets {
    fn decode(message: Vec<u8>) -> Result<Self, Failure> {
        Ok(Self(message))
    }
}

impl Encode for Octets {
    fn encode(self) -> Result<Vec<u8>, Failure> {
        Ok(self.0)
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Octets {
    fn from(octets: Vec<u8>) -> Self {
        Self(octets)
    }
}

impl From<&[u8]> for Octets {
    fn from(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }
}

impl From<&str> for Octets {
    fn from(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }
}

impl From<String> for Octets {
    fn from(text: String) -> Self {
        Self(text.into_bytes())
    }
}

/// As text where it is text: failed assertions are read by people.
impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Octets(b\"{}\")", self.0.escape_ascii())
    }
}

/// A type's name without the paths: `Option<User>` for `core::option::Option<users::User>`.
fn short_name(full: &str) -> String {
    let mut short = String::with_capacity(full.len());
    let mut segment = 0;
    let mut rest = full.chars().peekable();
    while let Some(letter) = rest.next() {
        if letter == ':' && rest.next_if_eq(&':').is_some() {
            short.truncate(segment);
        } else {
            short.push(letter);
            if !(letter.is_alphanumeric() || letter == '_') {
                segment = short.len();
            }
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::failure::Kind;

    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Page {
        limit: Option<u32>,
    }

    #[test]
    fn names_lose_their_paths() {
        let check = |full: &str, short: &str| assert_eq!(short_name(full), short);
        check("u8", "u8");
        check("users::store::User", "User");
        check("core::option::Option<users::User>", "Option<User>");
        check("(alloc::string::String, [a::B; 3])", "(String, [B; 3])");
    }

    #[test]
    fn no_octets_read_as_nothing_or_as_an_empty_object() {
        assert_eq!(Page::decode(Vec::new()), Ok(Page { limit: None }));
        assert_eq!(Option::<Page>::decode(Vec::new()), Ok(None));
        assert_eq!(<()>::decode(Vec::new()), Ok(()));
        assert_eq!(
            u8::decode(Vec::new()).unwrap_err().kind,
            Kind::InvalidArgument
        );
    }

    #[test]
    fn a_message_of_another_shape_is_refused_with_its_place() {
        let failure = Page::decode(b"{\n  \"limit\": \"ten\"}".to_vec()).unwrap_err();
        assert_eq!(failure.kind, Kind::InvalidArgument);
        assert_eq!(
            failure.message,
            "message is not a valid `Page`: invalid type: string \"ten\", expected u32 at line 2 column 16"
        );
    }

    #[test]
    fn octets_pass_unchanged_and_in_place() {
        let message = vec![0, 0xff, b'{'];
        let address = message.as_ptr();
        let octets = Octets::decode(message).unwrap();
        assert_eq!(format!("{octets:?}"), r#"Octets(b"\x00\xff{")"#);
        let message = octets.encode().unwrap();
        assert_eq!(
            (message.as_ptr(), message.as_slice()),
            (address, [0, 0xff, b'{'].as_slice())
        );
    }

    #[test]
    fn a_value_without_a_form_in_json_is_the_plugins_fault() {
        let map = BTreeMap::from([((1, 2), 3)]);
        assert_eq!(map.encode().unwrap_err().kind, Kind::Internal);
    }
}
