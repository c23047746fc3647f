//! The schemas within a schema. What stands below other keywords (`const`, `default`, `examples`, ..) is
//! data, whatever it looks like.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value as Json};

/// What of a message a schema within another is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// The same as the schema around it.
    Same,
    /// A part of that.
    Part,
    /// Nothing, until it is referred to.
    None,
}

/// How a keyword has its schemas.
#[derive(Clone, Copy)]
enum Form {
    One,
    List,
    Map,
}

/// The keywords that have schemas: JSON Schema Core 2020-12 sections 8.2.4, 10 and 11, Validation
/// section 8.5.
const KEYWORDS: [(&str, Form, Reach); 20] = [
    ("$defs", Form::Map, Reach::None),
    ("definitions", Form::Map, Reach::None),
    ("allOf", Form::List, Reach::Same),
    ("anyOf", Form::List, Reach::Same),
    ("oneOf", Form::List, Reach::Same),
    ("not", Form::One, Reach::Same),
    ("if", Form::One, Reach::Same),
    ("then", Form::One, Reach::Same),
    ("else", Form::One, Reach::Same),
    ("dependentSchemas", Form::Map, Reach::Same),
    ("properties", Form::Map, Reach::Part),
    ("patternProperties", Form::Map, Reach::Part),
    ("additionalProperties", Form::One, Reach::Part),
    ("unevaluatedProperties", Form::One, Reach::Part),
    ("propertyNames", Form::One, Reach::Part),
    ("items", Form::One, Reach::Part),
    ("prefixItems", Form::List, Reach::Part),
    ("unevaluatedItems", Form::One, Reach::Part),
    ("contains", Form::One, Reach::Part),
    ("contentSchema", Form::One, Reach::Part),
];

/// Tells `visit` of the schemas directly within `schema`: each with its pointer from there.
pub(crate) fn children<'a>(
    schema: &'a Map<String, Json>,
    visit: &mut dyn FnMut(Reach, String, &'a Json),
) {
    for (keyword, form, reach) in KEYWORDS {
        let Some(value) = schema.get(keyword) else {
            continue;
        };
        let at = |part: &str| format!("/{keyword}/{}", escaped(part));
        match (form, value) {
            (Form::One, value) => visit(reach, format!("/{keyword}"), value),
            (Form::List, Json::Array(items)) => {
                for (idx, item) in items.iter().enumerate() {
                    visit(reach, at(&idx.to_string()), item);
                }
            }
            (Form::Map, Json::Object(map)) => {
                for (name, one) in map {
                    visit(reach, at(name), one);
                }
            }
            // No form of the keyword: the schema of schemas refuses it.
            (Form::List | Form::Map, _) => {}
        }
    }
}

/// The same, to change them.
pub(crate) fn children_mut(schema: &mut Map<String, Json>, visit: &mut dyn FnMut(&mut Json)) {
    for (keyword, form, _) in KEYWORDS {
        match (form, schema.get_mut(keyword)) {
            (Form::One, Some(value)) => visit(value),
            (Form::List, Some(Json::Array(items))) => items.iter_mut().for_each(&mut *visit),
            (Form::Map, Some(Json::Object(map))) => map.values_mut().for_each(&mut *visit),
            (Form::List | Form::Map, _) | (Form::One, None) => {}
        }
    }
}

/// What a reference points at within its schema: a JSON Pointer (RFC 6901 section 6). `None` where it
/// leads elsewhere, or is no pointer.
pub(crate) fn pointed(reference: &str) -> Option<String> {
    let fragment = reference.strip_prefix('#')?;
    let pointer: Cow<'_, str> = percent_decode_str(fragment).decode_utf8().ok()?;
    (pointer.is_empty() || pointer.starts_with('/')).then(|| pointer.into_owned())
}

/// A name as a part of a JSON Pointer.
fn escaped(part: &str) -> Cow<'_, str> {
    match part.contains(['~', '/']) {
        true => part.replace('~', "~0").replace('/', "~1").into(),
        false => part.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_keywords_that_have_schemas_are_gone_into() {
        let schema = json!({
            "properties": { "a/b": { "const": { "$ref": "#/x" } } },
            "anyOf": [true, {}],
            "not": {},
            "default": { "properties": { "c": {} } },
            "required": ["a"],
        });
        let mut found = Vec::new();
        let schema = schema.as_object().expect("an object");
        children(schema, &mut |reach, pointer, _| {
            found.push((pointer, reach))
        });
        let expected = [
            ("/anyOf/0", Reach::Same),
            ("/anyOf/1", Reach::Same),
            ("/not", Reach::Same),
            ("/properties/a~1b", Reach::Part),
        ];
        let expected = expected.map(|(pointer, reach)| (pointer.to_owned(), reach));
        assert_eq!(found, expected);
        let mut n_changed = 0;
        children_mut(&mut schema.clone(), &mut |_| n_changed += 1);
        assert_eq!(n_changed, 4);
    }

    #[test]
    fn references_are_pointers_into_their_schema() {
        let check = |reference: &str, expected: Option<&str>| {
            assert_eq!(pointed(reference).as_deref(), expected, "{reference}");
        };
        check("#", Some(""));
        check("#/$defs/A", Some("/$defs/A"));
        check("#/$defs/Option%3Cu8%3E", Some("/$defs/Option<u8>"));
        check("#anchor", None);
        check("other.json#/a", None);
        check("https://example.org/a", None);
    }
}
