//! What is sent of a reply: the message, the field that `response_body` names, or the octets of a
//! `google.api.HttpBody`.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use postern_core::{Error, Text, json, route::Transcoded};
use prost_reflect::{FieldDescriptor, Kind};

use super::{
    binding::{Binding, is_http_body},
    field::is_one_value,
};

impl Binding {
    /// What is sent of `message`.
    ///
    /// # Errors
    /// `internal` for an `HttpBody` that is none.
    pub(super) fn to_reply(&self, message: &Bytes) -> Result<Transcoded, Error> {
        let message = match message.is_empty() {
            true => Bytes::from_static(b"{}"),
            false => message.clone(),
        };
        let sent = match &self.response_body {
            None => message,
            Some((_, field)) => match member(&message, field) {
                Some(value) => message.slice_ref(value),
                None => absent(field),
            },
        };
        match self.response_type() {
            Some(kind) if is_http_body(&kind) => octets(&sent),
            Some(_) | None => Ok(Transcoded {
                content: sent,
                media_type: None,
            }),
        }
    }
}

fn member<'m>(message: &'m [u8], field: &FieldDescriptor) -> Option<&'m [u8]> {
    let named = |name| json::member(message, name);
    named(field.json_name()).or_else(|| named(field.name()))
}

/// A field that the message does not have: JSON leaves out what is a default.
fn absent(field: &FieldDescriptor) -> Bytes {
    if field.is_map() {
        return Bytes::from_static(b"{}");
    }
    if field.is_list() {
        return Bytes::from_static(b"[]");
    }
    let default = match field.kind() {
        Kind::Bool => "false",
        Kind::String | Kind::Bytes => "\"\"",
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 | Kind::Uint64 | Kind::Fixed64 => "\"0\"",
        Kind::Int32
        | Kind::Sint32
        | Kind::Sfixed32
        | Kind::Uint32
        | Kind::Fixed32
        | Kind::Float
        | Kind::Double => "0",
        Kind::Message(message) if !is_one_value(&message) => "{}",
        Kind::Message(_) => "null",
        Kind::Enum(named) => {
            let mut out = Vec::new();
            json::push_string(&mut out, named.default_value().name());
            return out.into();
        }
    };
    Bytes::from_static(default.as_bytes())
}

fn octets(body: &Bytes) -> Result<Transcoded, Error> {
    let text = |names: &[&str]| {
        let mut found = names.iter().filter_map(|name| json::member(body, name));
        found.next().and_then(json::string).unwrap_or_default()
    };
    let content = BASE64_STANDARD.decode(text(&["data"])).map_err(|error| {
        Error::internal(format!("data of google.api.HttpBody is no base64: {error}"))
    })?;
    let media_type = text(&["contentType", "content_type"]);
    Ok(Transcoded {
        content: content.into(),
        media_type: Some(match &*media_type {
            "" => Text::from_static("application/octet-stream"),
            named => named.into(),
        }),
    })
}
