//! Paths of a document, each once, and operations under ids that are theirs alone.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use postern_core::route::{ParamType, PathTemplate, TemplatePart};
use serde_json::{Map, Value as Json};

/// Path items as they are found.
#[derive(Default)]
pub(super) struct Paths {
    items: BTreeMap<String, Map<String, Json>>,
    /// The path that a form of paths is written as: `/users/{}` as `/users/{id}`.
    written: BTreeMap<String, String>,
    ids: BTreeSet<String>,
}

/// Where a route has its operations.
pub(super) struct ItemPath {
    pub path: String,
    pub names: Vec<PathName>,
}

/// A parameter of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathName {
    /// What the route calls it, and so the method.
    pub name: String,
    /// What the document calls it.
    pub shown: String,
    pub kind: ParamType,
    /// It takes all segments that are left.
    pub is_rest: bool,
    /// It is all of what the method calls so, and not one segment of several.
    pub is_whole: bool,
}

impl Paths {
    /// The place of `template`. Paths that differ by names of parameters alone are one (section 4.8.8.2).
    /// A parameter of the document is one segment, so one of the route that has several is some.
    pub(super) fn place(&mut self, template: &PathTemplate) -> ItemPath {
        let (mut form, mut path) = (String::new(), String::new());
        let mut names: Vec<PathName> = Vec::new();
        let mut before = String::from("part");
        let n_parts = |variable| {
            let parts = template.parts();
            parts.filter(|(_, other)| *other == variable).count()
        };
        for (part, variable) in template.parts() {
            let (kind, is_rest) = match part {
                TemplatePart::Literal(text) => {
                    let text = encoded_path(text);
                    form.push_str(&format!("/{text}"));
                    path.push_str(&format!("/{text}"));
                    before = text;
                    continue;
                }
                TemplatePart::Segment(kind) => (*kind, false),
                TemplatePart::Rest { .. } => (ParamType::String, true),
            };
            let is_whole = variable.is_some() && n_parts(variable) == 1;
            let name = variable.map(ToString::to_string).unwrap_or_default();
            // One segment of several is called by the text before it: `shelves_id`.
            let wanted = match is_whole {
                true => name.clone(),
                false => format!("{before}_id"),
            };
            let others = (2_u32..).map(|n| format!("{wanted}_{n}"));
            let mut candidates = std::iter::once(wanted.clone()).chain(others);
            // Numbers do not end.
            let free = |one: &String| names.iter().all(|known| known.shown != *one);
            let shown = candidates.find(free).unwrap_or_default();
            form.push_str("/{}");
            path.push_str(&format!("/{{{shown}}}"));
            names.push(PathName {
                name,
                shown,
                kind,
                is_rest,
                is_whole,
            });
        }
        if let Some(verb) = template.verb() {
            let verb = encoded_path(verb);
            form.push_str(&format!(":{verb}"));
            path.push_str(&format!(":{verb}"));
        }
        let path = self.written.entry(form).or_insert(path).clone();
        let shown = path.split(['{', '}']).skip(1).step_by(2);
        for (name, shown) in names.iter_mut().zip(shown) {
            shown.clone_into(&mut name.shown);
        }
        ItemPath { path, names }
    }

    pub(super) fn has(&self, path: &str, verb: &str) -> bool {
        self.items
            .get(path)
            .is_some_and(|item| item.contains_key(verb))
    }

    /// Adds an operation under an id like `id`; the first of a path and a verb stays.
    pub(super) fn add(&mut self, path: &str, verb: &str, id: &str, mut operation: Json) {
        if self.has(path, verb) {
            return;
        }
        let others = (2_u32..).map(|n| format!("{id}.{n}"));
        let mut candidates = std::iter::once(id.to_owned()).chain(others);
        // Numbers do not end.
        let id = candidates
            .find(|id| !self.ids.contains(id))
            .unwrap_or_default();
        self.ids.insert(id.clone());
        if let Some(operation) = operation.as_object_mut() {
            operation.insert("operationId".to_owned(), id.into());
        }
        let item = self.items.entry(path.to_owned()).or_default();
        item.insert(verb.to_owned(), operation);
    }

    pub(super) fn into_json(self) -> Json {
        let items = self.items.into_iter();
        Json::Object(
            items
                .map(|(path, item)| (path, Json::Object(item)))
                .collect(),
        )
    }
}

/// A name as one segment of a path; what parts segments or templates is escaped.
pub(super) fn encoded(name: &str) -> String {
    const ESCAPED: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~');
    utf8_percent_encode(name, &ESCAPED).to_string()
}

/// A segment of a path as it is written: RFC 3986 section 3.3, "pchar".
fn encoded_path(text: &str) -> String {
    const ESCAPED: AsciiSet = NON_ALPHANUMERIC
        .remove(b'-')
        .remove(b'_')
        .remove(b'.')
        .remove(b'~')
        .remove(b'!')
        .remove(b'$')
        .remove(b'&')
        .remove(b'\'')
        .remove(b'(')
        .remove(b')')
        .remove(b'*')
        .remove(b'+')
        .remove(b',')
        .remove(b';')
        .remove(b'=')
        .remove(b':')
        .remove(b'@');
    utf8_percent_encode(text, &ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_that_differ_by_names_alone_are_one() {
        let mut paths = Paths::default();
        let mut place = |text: &str| {
            let template = PathTemplate::parse(text).expect("a path");
            let ItemPath { path, names } = paths.place(&template);
            let names = names
                .iter()
                .map(|one| format!("{}={}", one.shown, one.name));
            (path, names.collect::<Vec<_>>())
        };
        let check = |found: (String, Vec<String>), path: &str, names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(found, (path.to_owned(), names));
        };
        check(place("/users/{id:int}/x"), "/users/{id}/x", &["id=id"]);
        check(place("/users/{name}/x"), "/users/{id}/x", &["id=name"]);
        check(place("/files/{path*}"), "/files/{path}", &["path=path"]);
        check(place("/"), "/", &[]);
    }

    #[test]
    fn segments_of_one_parameter_are_parameters_of_their_own() {
        let mut paths = Paths::default();
        let mut place = |text: &str| {
            let template = PathTemplate::parse_http_rule(text).expect("a path");
            let ItemPath { path, names } = paths.place(&template);
            let whole: Vec<_> = names.iter().map(|one| one.is_whole).collect();
            (path, whole)
        };
        let books = place("/v1/{name=shelves/*/books/*}:move");
        let path = "/v1/shelves/{shelves_id}/books/{books_id}:move";
        assert_eq!(books, (path.to_owned(), vec![false, false]));
        let object = place("/b/{bucket}/{object=**}");
        assert_eq!(
            object,
            ("/b/{bucket}/{object}".to_owned(), vec![true, true])
        );
        let stars = place("/v1/{name=a/*/*}/b:c");
        assert_eq!(stars.0, "/v1/a/{a_id}/{a_id_2}/b:c");
    }

    #[test]
    fn operations_have_ids_of_their_own_and_the_first_counts() {
        let mut paths = Paths::default();
        paths.add("/a", "get", "x", json!({}));
        paths.add("/a", "get", "y", json!({}));
        paths.add("/b", "get", "x", json!({}));
        let expected = json!({
            "/a": { "get": { "operationId": "x" } },
            "/b": { "get": { "operationId": "x.2" } },
        });
        assert_eq!(paths.into_json(), expected);
        assert_eq!(encoded("a/b {c}.d-e"), "a%2Fb%20%7Bc%7D.d-e");
    }
}
