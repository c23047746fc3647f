//! What one method takes, for the routes that lead to it.

use std::collections::BTreeMap;

use postern_core::Text;
use postern_net::http::{ParamShape, RequestSchema, SchemaFault};

use super::{audit::SchemaError, checker::Checker, parse, shape};

/// Of one method, by the schema of its request.
#[derive(Debug)]
pub(crate) struct MethodSchema {
    /// The schema as it was told; `None` of a method that takes nothing.
    text: Option<Text>,
    shapes: BTreeMap<String, ParamShape>,
    /// There where a route checks requests.
    checker: Option<Checker>,
}

impl MethodSchema {
    /// Of a method whose requests have the schema `text`; `is_checked` says whether requests will be
    /// compared with it.
    ///
    /// # Errors
    /// What cannot be used.
    pub(crate) fn new(text: &Text, is_checked: bool) -> Result<Self, SchemaError> {
        let root = parse(text)?;
        let members = shape::members(&root, &root);
        let shapes = members.all.into_iter();
        let shapes = shapes.map(|(name, member)| (name.to_owned(), shape::shape(&root, member)));
        Ok(Self {
            shapes: shapes.collect(),
            checker: is_checked.then(|| Checker::compile(&root)).transpose()?,
            text: Some(text.clone()),
        })
    }

    /// Of a method that takes nothing, and so whatever comes.
    pub(crate) fn nothing() -> Self {
        Self {
            text: None,
            shapes: BTreeMap::new(),
            checker: None,
        }
    }

    /// Whether it is what `new`, or without a text `nothing`, would make.
    pub(crate) fn is_of(&self, text: Option<&Text>, is_checked: bool) -> bool {
        self.text.as_ref() == text && (text.is_none() || self.checker.is_some() == is_checked)
    }
}

impl RequestSchema for MethodSchema {
    fn shape(&self, member: &str) -> ParamShape {
        self.shapes.get(member).cloned().unwrap_or_default()
    }

    /// No message is `null` or, where that does not fit, an empty object, as guests read it.
    fn check(&self, message: &[u8]) -> Result<(), Vec<SchemaFault>> {
        let Some(checker) = &self.checker else {
            return Ok(());
        };
        match message.trim_ascii().is_empty() {
            true => checker.check(b"null").or_else(|_| checker.check(b"{}")),
            false => checker.check(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "{\"type\":\"object\",\"properties\":{\"size\":{\"type\":\"integer\"}},\"additionalProperties\":false}";

    #[test]
    fn members_have_shapes_and_messages_are_checked_where_that_is_asked_for() {
        let text = Text::from_static(PAGE);
        let checked = MethodSchema::new(&text, true).expect("a schema");
        assert_eq!(
            checked.shape("size").kinds,
            [postern_core::route::ParamType::Int]
        );
        assert_eq!(checked.shape("other"), ParamShape::default());
        assert!(checked.check(b"{\"size\":1}").is_ok() && checked.check(b" ").is_ok());
        let faults = checked.check(b"{\"size\":\"1\",\"x\":0}").expect_err("two");
        assert_eq!(faults.len(), 2);
        let typed = MethodSchema::new(&text, false).expect("a schema");
        assert!(typed.check(b"{\"size\":\"1\"}").is_ok());
        assert!(checked.is_of(Some(&text), true) && !checked.is_of(Some(&text), false));
        assert!(!checked.is_of(None, true) && MethodSchema::nothing().is_of(None, true));
        assert!(MethodSchema::nothing().check(b"whatever").is_ok());
    }

    #[test]
    fn an_empty_message_must_fit_as_well() {
        let text = Text::from_static("{\"type\":\"object\",\"required\":[\"id\"]}");
        let schema = MethodSchema::new(&text, true).expect("a schema");
        let faults = schema.check(b"").expect_err("missing");
        assert_eq!(
            (&*faults[0].pointer, &*faults[0].detail),
            ("/id", "is missing")
        );
    }
}
