//! What is written, before it means anything: the tree of a TOML file or of environment variables,
//! each part with its place.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

/// One written value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub place: Provenance,
    pub value: Value,
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Provenance {
    /// Octets of the file.
    File(Range<usize>),
    /// The variable's name.
    Environment(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Text(String),
    Integer(i64),
    /// Floats, dates and integers over 64 bits: nothing takes them but free tables.
    Literal(String),
    Boolean(bool),
    List(Vec<Node>),
    Table(Vec<TableEntry>),
    /// From the environment: its type is what the key wants.
    Untyped(String),
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct TableEntry {
    pub key: String,
    pub key_place: Provenance,
    pub node: Node,
}

impl Node {
    pub(crate) fn of_table(table: &Spanned<DeTable<'_>>) -> Self {
        Self {
            place: Provenance::File(table.span()),
            value: Value::of_table(table.get_ref()),
        }
    }

    fn of_value(value: &Spanned<DeValue<'_>>) -> Self {
        Self {
            place: Provenance::File(value.span()),
            value: Value::of(value.get_ref()),
        }
    }
}

impl Value {
    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(integer) => {
                match i64::from_str_radix(integer.as_str(), integer.radix()) {
                    Ok(number) => Self::Integer(number),
                    Err(_) => Self::Literal(integer.to_string()),
                }
            }
            DeValue::Float(float) => Self::Literal(float.as_str().to_owned()),
            DeValue::Boolean(boolean) => Self::Boolean(*boolean),
            DeValue::Datetime(datetime) => Self::Literal(datetime.to_string()),
            DeValue::Array(items) => Self::List(items.iter().map(Node::of_value).collect()),
            DeValue::Table(table) => Self::of_table(table),
        }
    }

    fn of_table(table: &DeTable<'_>) -> Self {
        let entry = |(key, value): (&Spanned<_>, &Spanned<DeValue<'_>>)| TableEntry {
            key: String::from(std::borrow::Cow::as_ref(key.get_ref())),
            key_place: Provenance::File(key.span()),
            node: Node::of_value(value),
        };
        Self::Table(table.iter().map(entry).collect())
    }

    /// Text as it is written, wherever it was.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) | Self::Untyped(text) => Some(text),
            Self::Integer(_)
            | Self::Literal(_)
            | Self::Boolean(_)
            | Self::List(_)
            | Self::Table(_) => None,
        }
    }

    /// As it reads in a message: `"fast"`, `5`, `a table`.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Text(text) | Self::Untyped(text) => format!("{text:?}"),
            Self::Integer(number) => number.to_string(),
            Self::Literal(literal) => literal.clone(),
            Self::Boolean(boolean) => boolean.to_string(),
            Self::List(_) => "a list".to_owned(),
            Self::Table(_) => "a table".to_owned(),
        }
    }

    /// The JSON of the same meaning; literals that JSON does not have become text.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) | Self::Untyped(text) => text.as_str().into(),
            Self::Integer(number) => (*number).into(),
            Self::Literal(literal) => {
                serde_json::from_str(literal).unwrap_or_else(|_| literal.as_str().into())
            }
            Self::Boolean(boolean) => (*boolean).into(),
            Self::List(items) => items.iter().map(|item| item.value.to_json()).collect(),
            Self::Table(entries) => {
                let pairs = entries
                    .iter()
                    .map(|entry| (&entry.key, entry.node.value.to_json()));
                pairs.map(|(key, value)| (key.clone(), value)).collect()
            }
        }
    }
}
