//! Parameters of path, query and form, and a JSON body, as one JSON object. Pure.
//!
//! | where a name stands | what is sent |
//! | --- | --- |
//! | in one place | its value, of the type that the route or the method's schema says; text where neither does |
//! | in the query or the form several times, or once where the schema says list | a list of its values |
//! | in two places with one value | the value; that of a body with its own type |
//! | in two places with two values | nothing: the request is refused |
//!
//! A body is looked through once and never built: what it has stays as it is written.

use std::collections::{BTreeMap, btree_map::Entry};

use bytes::Bytes;
use http::StatusCode;
use postern_core::{
    Error, json,
    route::{ParamType, PathParam, QueryError, query_pairs},
};

use super::schema::{self, ParamShape, ParamTypes, SchemaFault};
use crate::http::request::Refusal;

/// What a request says in parameters, by name.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    by_name: BTreeMap<String, Parameter>,
    /// Values of a form that are JSON already.
    files: BTreeMap<String, Vec<u8>>,
}

#[derive(Debug)]
struct Parameter {
    source: ParamSource,
    shape: ParamShape,
    values: Vec<String>,
    /// The body has it as well, and with the same value.
    is_in_body: bool,
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ParamSource {
    Path,
    Query,
    Form,
}

/// Why a request is not one object.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParamError {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("the body is no JSON: {0}")]
    Json(#[from] json::JsonError),
    #[error("a request of more than {PARAMS_MAX} parameters")]
    TooMany,
    #[error("{value:?} of parameter {name:?} in the {place} is no {kinds}")]
    Type {
        name: String,
        value: String,
        place: &'static str,
        /// `int`, or `int or bool`.
        kinds: String,
    },
    #[error("{name:?} has one value in the {one} and another in the {other}")]
    Conflict {
        name: String,
        one: &'static str,
        other: &'static str,
    },
    #[error("the body is no JSON object, which parameters could be added to")]
    NoObject,
}

impl Parameters {
    /// Those of a path and a query. `types` are those beside the path's own.
    ///
    /// # Errors
    /// A query that is no text, a value of another type, two values for one name.
    pub(super) fn read(
        path: Vec<PathParam<'_>>,
        query: Option<&str>,
        types: ParamTypes<'_>,
    ) -> Result<Self, ParamError> {
        let mut read = Self::default();
        for param in path {
            let shape = match param.kind {
                ParamType::String => types.of(param.name),
                stated @ (ParamType::Int | ParamType::Number | ParamType::Bool) => ParamShape {
                    kinds: vec![stated],
                    is_list: false,
                },
            };
            let parameter = Parameter {
                source: ParamSource::Path,
                shape,
                values: vec![param.value],
                is_in_body: false,
            };
            read.by_name.insert(param.name.to_string(), parameter);
        }
        read.add(query.unwrap_or_default(), ParamSource::Query, types)?;
        Ok(read)
    }

    /// Adds pairs of a query or a form.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn add(
        &mut self,
        pairs: &str,
        source: ParamSource,
        types: ParamTypes<'_>,
    ) -> Result<(), ParamError> {
        for pair in query_pairs(pairs) {
            let (name, value) = pair?;
            self.push(name.into_owned(), value.into_owned(), source, types)?;
        }
        Ok(())
    }

    /// Adds one value.
    ///
    /// # Errors
    /// As `read`.
    pub(super) fn push(
        &mut self,
        name: String,
        value: String,
        source: ParamSource,
        types: ParamTypes<'_>,
    ) -> Result<(), ParamError> {
        let is_full = self.by_name.len() >= PARAMS_MAX;
        match self.by_name.entry(name) {
            Entry::Vacant(_) if is_full => Err(ParamError::TooMany),
            Entry::Vacant(vacant) if self.files.contains_key(vacant.key()) => {
                let place = ParamSource::Form.name();
                Err(ParamError::Conflict {
                    name: vacant.key().clone(),
                    one: place,
                    other: place,
                })
            }
            Entry::Vacant(vacant) => {
                let shape = types.of(vacant.key());
                let values = vec![value];
                vacant.insert(Parameter {
                    source,
                    shape,
                    values,
                    is_in_body: false,
                });
                Ok(())
            }
            Entry::Occupied(mut known) if known.get().source == source => {
                known.get_mut().values.push(value);
                Ok(())
            }
            Entry::Occupied(known) if *known.get().values == [value] => Ok(()),
            Entry::Occupied(known) => Err(ParamError::Conflict {
                one: known.get().source.name(),
                other: source.name(),
                name: known.key().clone(),
            }),
        }
    }

    /// Adds a value that is JSON already.
    ///
    /// # Errors
    /// A name that is taken.
    pub(super) fn push_file(&mut self, name: String, json: Vec<u8>) -> Result<(), ParamError> {
        if let Some(known) = self.by_name.get(&name) {
            let (one, other) = (known.source.name(), ParamSource::Form.name());
            return Err(ParamError::Conflict { name, one, other });
        }
        match self.files.entry(name) {
            Entry::Vacant(vacant) => drop(vacant.insert(json)),
            Entry::Occupied(known) => {
                let (name, place) = (known.key().clone(), ParamSource::Form.name());
                return Err(ParamError::Conflict {
                    name,
                    one: place,
                    other: place,
                });
            }
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_name.is_empty() && self.files.is_empty()
    }

    /// One object of these and the members of `body`, which may be empty.
    ///
    /// # Errors
    /// A body that is no object, a value of another type, two values for one name.
    pub(super) fn into_object(mut self, body: &[u8]) -> Result<Bytes, ParamError> {
        let mut inner: &[u8] = &[];
        let trimmed = body.trim_ascii();
        if !trimmed.is_empty() {
            self.compare_with(trimmed)?;
            let object = trimmed.strip_prefix(b"{");
            let object = object.and_then(|object| object.strip_suffix(b"}"));
            inner = object.ok_or(ParamError::NoObject)?.trim_ascii();
        }
        let mut object = Vec::with_capacity(inner.len() + 64 * self.by_name.len() + 2);
        object.push(b'{');
        let begin_member = |object: &mut Vec<u8>, name: &str| {
            if object.len() > 1 {
                object.push(b',');
            }
            json::push_string(object, name);
            object.push(b':');
        };
        for (name, file) in &self.files {
            begin_member(&mut object, name);
            object.extend_from_slice(file);
        }
        let sent = self.by_name.iter().filter(|(_, one)| !one.is_in_body);
        for (name, parameter) in sent {
            begin_member(&mut object, name);
            parameter.push_json(name, &mut object)?;
        }
        if object.len() > 1 && !inner.is_empty() {
            object.push(b',');
        }
        object.extend_from_slice(inner);
        object.push(b'}');
        Ok(object.into())
    }

    /// Leaves out what the body says as well. A member that comes twice must say it twice.
    fn compare_with(&mut self, body: &[u8]) -> Result<(), ParamError> {
        let mut conflict = None;
        let by_name = &mut self.by_name;
        json::visit_members(body, &mut |key, value| {
            let Some(name) = json::string(key) else {
                return;
            };
            let Some(parameter) = by_name.get_mut(&name) else {
                return;
            };
            if parameter.says(value) {
                parameter.is_in_body = true;
            } else {
                conflict.get_or_insert_with(|| ParamError::Conflict {
                    name,
                    one: parameter.source.name(),
                    other: "body",
                });
            }
        })?;
        conflict.map_or(Ok(()), Err)
    }
}

impl Parameter {
    /// Whether a member of a body has the value of this.
    fn says(&self, member: &[u8]) -> bool {
        let [value] = self.values.as_slice() else {
            return false;
        };
        value.as_bytes() == member || json::string(member).as_ref() == Some(value)
    }

    fn push_json(&self, name: &str, out: &mut Vec<u8>) -> Result<(), ParamError> {
        if let ([value], false) = (self.values.as_slice(), self.shape.is_list) {
            return self.push_value(name, value, out);
        }
        out.push(b'[');
        for (idx, value) in self.values.iter().enumerate() {
            if idx > 0 {
                out.push(b',');
            }
            self.push_value(name, value, out)?;
        }
        out.push(b']');
        Ok(())
    }

    fn push_value(&self, name: &str, value: &str, out: &mut Vec<u8>) -> Result<(), ParamError> {
        let kinds = match self.shape.kinds.as_slice() {
            [] => &[ParamType::String][..],
            kinds => kinds,
        };
        let kind = kinds.iter().find(|kind| kind.reads(value));
        let kind = kind.ok_or_else(|| {
            let names: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
            ParamError::Type {
                name: name.to_owned(),
                value: value.chars().take(SHOWN_CHARS_MAX).collect(),
                place: self.source.name(),
                kinds: names.join(" or "),
            }
        })?;
        match kind {
            ParamType::String => json::push_string(out, value),
            ParamType::Int | ParamType::Number | ParamType::Bool => {
                out.extend_from_slice(value.as_bytes());
            }
        }
        Ok(())
    }
}

impl ParamSource {
    const fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Query => "query",
            Self::Form => "form",
        }
    }
}

impl From<ParamError> for Refusal {
    /// What cannot be read at all is 400, what can be and does not fit is 422 (RFC 9110 section
    /// 15.5.21).
    fn from(error: ParamError) -> Self {
        let status = match error {
            ParamError::Query(_) | ParamError::Json(_) | ParamError::TooMany => {
                StatusCode::BAD_REQUEST
            }
            ParamError::Type { .. } | ParamError::Conflict { .. } | ParamError::NoObject => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
        };
        let refusal = Self::new(status, Error::invalid_argument(error.to_string()));
        match error.fault() {
            Some(fault) => refusal.with_errors(schema::to_json(&[fault])),
            None => refusal,
        }
    }
}

impl ParamError {
    /// The member that does not fit, where it is one.
    fn fault(&self) -> Option<SchemaFault> {
        match self {
            Self::Type { name, .. } | Self::Conflict { name, .. } => {
                Some(SchemaFault::of_member(name, self.to_string()))
            }
            Self::Query(_) | Self::Json(_) | Self::TooMany | Self::NoObject => None,
        }
    }
}

/// Names of parameters in one request.
const PARAMS_MAX: usize = 256;
const SHOWN_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use postern_core::route::{PathTemplate, RequestPath};

    use super::{super::schema::RequestSchema, *};

    /// Whole numbers for `*_n`, either for `*_either`, and lists for `*_list`.
    #[derive(Debug)]
    struct ByName;

    impl RequestSchema for ByName {
        fn shape(&self, member: &str) -> ParamShape {
            let kinds = match member.rsplit_once('_') {
                Some((_, "n" | "list")) => vec![ParamType::Int],
                Some((_, "either")) => vec![ParamType::Bool, ParamType::Number],
                _ => Vec::new(),
            };
            ParamShape {
                kinds,
                is_list: member.ends_with("_list"),
            }
        }

        fn check(&self, _: &[u8]) -> Result<(), Vec<SchemaFault>> {
            Ok(())
        }
    }

    /// `/{id}/{n}` with `n` an int by the route, and `size` an int, `deep` a bool.
    fn merge(path: &str, query: &str, body: &str) -> Result<String, ParamError> {
        let template = PathTemplate::parse("/{id}/{n}").expect("a template");
        let path = RequestPath::parse(path).expect("a path");
        let types = [
            ("n".into(), ParamType::Int),
            ("size".into(), ParamType::Int),
            ("deep".into(), ParamType::Bool),
        ];
        let params = template.params(&path).expect("taken");
        let types = ParamTypes {
            stated: &types.into(),
            schema: Some(&ByName),
        };
        let read = Parameters::read(params, Some(query), types)?;
        let object = read.into_object(body.as_bytes())?;
        json::check(&object).expect("JSON");
        Ok(String::from_utf8(object.to_vec()).expect("text"))
    }

    #[track_caller]
    fn check(path: &str, query: &str, body: &str, expected: &str) {
        assert_eq!(merge(path, query, body).as_deref(), Ok(expected));
    }

    #[test]
    fn path_query_and_body_are_one_object() {
        check("/a/7", "", "", "{\"id\":\"a\",\"n\":7}");
        check("/a/7", "", " {} ", "{\"id\":\"a\",\"n\":7}");
        check(
            "/a%22b/7",
            "size=3&deep=true&x=%2B1",
            "{ \"y\": 1.50, \"z\": {\"n\":1} }",
            "{\"deep\":true,\"id\":\"a\\\"b\",\"n\":7,\"size\":3,\"x\":\"+1\",\"y\": 1.50, \"z\": {\"n\":1}}",
        );
    }

    #[test]
    fn a_name_that_comes_again_is_a_list() {
        check(
            "/a/7",
            "x=1&x=2&size=1&size=2",
            "",
            "{\"id\":\"a\",\"n\":7,\"size\":[1,2],\"x\":[\"1\",\"2\"]}",
        );
    }

    #[test]
    fn the_schema_says_what_a_parameter_is_where_the_route_does_not() {
        check(
            "/a/7",
            "a_n=5&b_list=1&c_either=true&d_either=1e3&e=5&f_list=1&f_list=2",
            "",
            "{\"a_n\":5,\"b_list\":[1],\"c_either\":true,\"d_either\":1e3,\"e\":\"5\",\"f_list\":[1,2],\
             \"id\":\"a\",\"n\":7}",
        );
        let told = merge("/a/7", "c_either=x", "").expect_err("neither");
        assert_eq!(
            told.to_string(),
            "\"x\" of parameter \"c_either\" in the query is no bool or number"
        );
        assert_eq!(
            told.fault().map(|fault| fault.pointer).as_deref(),
            Some("/c_either")
        );
    }

    #[test]
    fn one_value_may_stand_in_two_places_and_a_body_keeps_its_type() {
        check(
            "/7/8",
            "id=7",
            "{\"id\":7,\"n\":\"8\"}",
            "{\"id\":7,\"n\":\"8\"}",
        );
        check(
            "/a/8",
            "",
            "{\"i\\u0064\":\"a\"}",
            "{\"n\":8,\"i\\u0064\":\"a\"}",
        );
    }

    #[test]
    fn two_values_for_one_name_are_refused_with_their_places() {
        let error = |path: &str, query: &str, body: &str| {
            merge(path, query, body).expect_err("refused").to_string()
        };
        let told = "\"id\" has one value in the path and another in the query";
        assert_eq!(error("/a/7", "id=b", ""), told);
        let told = "\"id\" has one value in the path and another in the body";
        assert_eq!(error("/a/7", "", "{\"id\":\"b\"}"), told);
        assert_eq!(error("/a/7", "", "{\"id\":\"a\",\"id\":null}"), told);
    }

    #[test]
    fn what_does_not_fit_is_422_and_what_cannot_be_read_400() {
        let status = |path: &str, query: &str, body: &str| {
            let refusal = Refusal::from(merge(path, query, body).expect_err("refused"));
            refusal.status.as_u16()
        };
        assert_eq!(status("/a/x", "", ""), 422);
        assert_eq!(status("/a/7", "size=large", ""), 422);
        assert_eq!(status("/a/7", "deep=1", ""), 422);
        assert_eq!(status("/a/7", "", "[1]"), 422);
        assert_eq!(status("/a/7", "", "{\"a\":}"), 400);
        assert_eq!(status("/a/7", "a=%ff", ""), 400);
        let many: String = (0..=PARAMS_MAX).map(|n| format!("p{n}=&")).collect();
        assert_eq!(status("/a/7", &many, ""), 400);
    }
}
