//! Text of a path or a query as the JSON of its field (<https://protobuf.dev/programming-guides/json/>).

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use postern_core::{json, route::ParamType};
use prost_reflect::{DynamicMessage, EnumDescriptor, Kind, MessageDescriptor};

use super::field::{is_one_value, is_wrapper};
use crate::nearest::nearest;

/// Why a text is no value of a field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ValueError {
    #[error("{text:?} is no {kind}")]
    Type { text: String, kind: String },
    #[error("{text:?} is no value of {name}{}", .nearest.as_ref().map(|near| format!("; did you mean {near:?}?")).unwrap_or_default())]
    Enum {
        text: String,
        name: String,
        nearest: Option<String>,
    },
    #[error("{name} has no text; name one of its fields")]
    Message { name: String },
}

/// `text` as the JSON of one value of `kind`: whole numbers of 64 bits and what is no number of JSON are
/// strings there.
///
/// # Errors
/// Why it is none.
pub(super) fn to_json(kind: &Kind, text: &str) -> Result<String, ValueError> {
    let wrong = |name: &str| ValueError::Type {
        text: shorten(text),
        kind: name.to_owned(),
    };
    let number = |reads: bool, name| match reads && ParamType::Number.reads(text) {
        true => Ok(text.to_owned()),
        false => Err(wrong(name)),
    };
    match kind {
        Kind::Bool if ParamType::Bool.reads(text) => Ok(text.to_owned()),
        Kind::Bool => Err(wrong("bool")),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => {
            number(text.parse::<i32>().is_ok(), "whole number of 32 bits")
        }
        Kind::Uint32 | Kind::Fixed32 => number(
            text.parse::<u32>().is_ok(),
            "whole number of 32 bits without sign",
        ),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => {
            let found = number(text.parse::<i64>().is_ok(), "whole number of 64 bits");
            found.map(|text| quoted(&text))
        }
        Kind::Uint64 | Kind::Fixed64 => {
            let found = number(
                text.parse::<u64>().is_ok(),
                "whole number of 64 bits without sign",
            );
            found.map(|text| quoted(&text))
        }
        Kind::Float | Kind::Double if NO_NUMBERS.contains(&text) => Ok(quoted(text)),
        Kind::Float => {
            let is_finite = text.parse::<f32>().is_ok_and(f32::is_finite);
            number(is_finite, "number of 32 bits")
        }
        Kind::Double => {
            let is_finite = text.parse::<f64>().is_ok_and(f64::is_finite);
            number(is_finite, "number of 64 bits")
        }
        Kind::String => Ok(quoted(text)),
        Kind::Bytes if is_base64(text) => Ok(quoted(text)),
        Kind::Bytes => Err(wrong("base64")),
        Kind::Enum(named) => enum_value(named, text),
        Kind::Message(message) => message_value(message, text),
    }
}

/// How a value of `kind` is written in a path or a query, for people.
pub(super) fn param_type(kind: &Kind) -> ParamType {
    match kind {
        Kind::Bool => ParamType::Bool,
        Kind::Int32
        | Kind::Sint32
        | Kind::Sfixed32
        | Kind::Uint32
        | Kind::Fixed32
        | Kind::Int64
        | Kind::Sint64
        | Kind::Sfixed64
        | Kind::Uint64
        | Kind::Fixed64 => ParamType::Int,
        Kind::Float | Kind::Double => ParamType::Number,
        Kind::String | Kind::Bytes | Kind::Enum(_) => ParamType::String,
        Kind::Message(message) => match wrapped(message) {
            Some(kind) => param_type(&kind),
            None => ParamType::String,
        },
    }
}

/// Whether a value of `kind` can be written as text.
pub(super) fn has_text(kind: &Kind) -> bool {
    match kind {
        Kind::Message(message) => wrapped(message).is_some() || is_text(message),
        Kind::Bool
        | Kind::Int32
        | Kind::Sint32
        | Kind::Sfixed32
        | Kind::Uint32
        | Kind::Fixed32
        | Kind::Int64
        | Kind::Sint64
        | Kind::Sfixed64
        | Kind::Uint64
        | Kind::Fixed64
        | Kind::Float
        | Kind::Double
        | Kind::String
        | Kind::Bytes
        | Kind::Enum(_) => true,
    }
}

/// By name, or by a number that fits.
fn enum_value(named: &EnumDescriptor, text: &str) -> Result<String, ValueError> {
    if named.get_value_by_name(text).is_some() {
        return Ok(quoted(text));
    }
    let is_number = ParamType::Int.reads(text) && text.parse::<i32>().is_ok();
    if is_number {
        return Ok(text.to_owned());
    }
    let values: Vec<_> = named.values().collect();
    let names = values.iter().map(|value| value.name());
    Err(ValueError::Enum {
        text: shorten(text),
        name: named.full_name().to_owned(),
        nearest: nearest(text, names).map(str::to_owned),
    })
}

/// Of those messages that JSON has as one value: the wrapped one, or a text that reads so.
fn message_value(message: &MessageDescriptor, text: &str) -> Result<String, ValueError> {
    if let Some(kind) = wrapped(message) {
        return to_json(&kind, text);
    }
    if !is_text(message) {
        let name = message.full_name().to_owned();
        return Err(ValueError::Message { name });
    }
    let json = match message.full_name() {
        FIELD_MASK => quoted(&camel_case(text)),
        _ => quoted(text),
    };
    let mut reader = serde_json::Deserializer::from_str(&json);
    match DynamicMessage::deserialize(message.clone(), &mut reader) {
        Ok(_) => Ok(json),
        Err(_) => Err(ValueError::Type {
            text: shorten(text),
            kind: message.full_name().to_owned(),
        }),
    }
}

/// What a wrapper wraps.
fn wrapped(message: &MessageDescriptor) -> Option<Kind> {
    let own = message.full_name().strip_prefix("google.protobuf.")?;
    if !is_wrapper(own) {
        return None;
    }
    message.get_field_by_name("value").map(|field| field.kind())
}

fn is_text(message: &MessageDescriptor) -> bool {
    is_one_value(message) && TEXTS.contains(&message.full_name())
}

/// Paths of a mask are in JSON as JSON names fields. Clients send both.
fn camel_case(mask: &str) -> String {
    let (mut out, mut is_upper) = (String::with_capacity(mask.len()), false);
    for c in mask.chars() {
        match (c, is_upper) {
            ('_', _) => is_upper = true,
            (c, true) => {
                out.push(c.to_ascii_uppercase());
                is_upper = false;
            }
            (c, false) => out.push(c),
        }
    }
    out
}

/// Either alphabet, with or without padding, as parsers of the JSON mapping take it.
fn is_base64(text: &str) -> bool {
    let config =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let alphabets = [alphabet::STANDARD, alphabet::URL_SAFE];
    let mut engines = alphabets.iter().map(|one| GeneralPurpose::new(one, config));
    engines.any(|engine| engine.decode(text).is_ok())
}

fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    json::push_string(&mut out, text);
    // A string of JSON of a text is a text.
    String::from_utf8(out).unwrap_or_default()
}

fn shorten(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

const FIELD_MASK: &str = "google.protobuf.FieldMask";
/// Messages that JSON has as strings.
const TEXTS: [&str; 3] = [
    "google.protobuf.Timestamp",
    "google.protobuf.Duration",
    FIELD_MASK,
];
const NO_NUMBERS: [&str; 3] = ["NaN", "Infinity", "-Infinity"];
const SHOWN_CHARS_MAX: usize = 100;
