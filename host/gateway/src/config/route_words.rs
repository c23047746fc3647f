//! Words that routes are configured with, each with what it means to the core.

use postern_core::{
    Text,
    route::{HostPattern, ParamType, PathTemplate},
};
use serde_json::json;

use super::{
    leaf::{Leaf, is_token, word_leaf},
    value::Value,
};

/// A host, or all names below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HostName(pub HostPattern);

/// The path of a route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutePath(pub PathTemplate);

/// A method of HTTP, in upper case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpMethod(pub Text);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ParamTypeName(pub ParamType);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RedirectStatus(pub u16);

/// What the body of a request to a method may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BodyFormName {
    Json,
    Form,
    Raw,
}

word_leaf!(BodyFormName {
    Json = "json",
    Form = "form",
    Raw = "raw",
});

impl Leaf for HostName {
    fn expected() -> String {
        "a host such as \"api.example.org\", or \"*.example.org\" for every name below".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let parsed = HostPattern::parse(&text).map(Self);
        parsed.map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.0.shown().written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

impl Leaf for RoutePath {
    fn expected() -> String {
        "a path such as \"/users/{id}\", \"/users/{id:int}\" or \"/files/{path*}\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let parsed = PathTemplate::parse(&text).map(Self);
        parsed.map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.0.text().to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^/" })
    }
}

impl Leaf for HttpMethod {
    fn expected() -> String {
        "a method in upper case such as \"GET\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let is_upper = !text.bytes().any(|c| c.is_ascii_lowercase());
        match is_token(&text) && is_upper && text != "CONNECT" {
            true => Ok(Self(text.into())),
            false => Err(format!("{text:?} is no method that a route can take")),
        }
    }

    fn written(&self) -> Option<String> {
        self.0.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "pattern": "^[^a-z]+$" })
    }
}

impl Leaf for ParamTypeName {
    fn expected() -> String {
        let names = ParamType::ALL.map(|kind| format!("\"{}\"", kind.name()));
        format!("one of {}", names.join(", "))
    }

    fn read(value: &Value) -> Result<Self, String> {
        let kind = value.as_text().and_then(ParamType::from_name);
        kind.map(Self)
            .ok_or_else(|| format!("{} is not known here", value.shown()))
    }

    fn written(&self) -> Option<String> {
        self.0.name().to_owned().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": ParamType::ALL.map(ParamType::name) })
    }
}

impl Leaf for RedirectStatus {
    fn expected() -> String {
        "301, 302, 303, 307 or 308".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let number = u32::read(value)?;
        match number {
            301 | 302 | 303 | 307 | 308 => Ok(Self(u16::try_from(number).unwrap_or(308))),
            _ => Err(format!("{number} is no status of a redirect")),
        }
    }

    fn written(&self) -> Option<String> {
        Some(self.0.to_string())
    }

    fn schema() -> serde_json::Value {
        json!({ "enum": [301, 302, 303, 307, 308] })
    }
}
