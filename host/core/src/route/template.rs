//! Paths of routes: `/users/{id}`, `/users/{id:int}`, `/files/{path*}`.
//!
//! | part | takes |
//! | --- | --- |
//! | `users` | that segment, after decoding; case counts |
//! | `{id}` | one segment that is not empty |
//! | `{id:int}`, `{id:number}`, `{id:bool}` | one segment that reads so |
//! | `{path*}` | all that is left, last in a path: one segment or more, of any form |

use std::fmt;

use super::path::{PathSegment, RequestPath, SEGMENTS_MAX, decode, shorten};
use crate::text::Text;

/// A route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: Text,
    pub(super) parts: Vec<TemplatePart>,
}

/// What takes one segment, or the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum TemplatePart {
    Literal(Text),
    Param { name: Text, kind: ParamType },
    Rest { name: Text },
}

/// What a parameter is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum ParamType {
    /// A whole number of 64 bits.
    Int,
    /// A number as JSON has it.
    Number,
    /// `true` or `false`.
    Bool,
    /// Any text.
    #[default]
    String,
}

/// A parameter of a path, and what a request has in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathParam<'a> {
    pub name: &'a Text,
    pub kind: ParamType,
    /// Decoded; of a rest, its segments with slashes between them.
    pub value: String,
    /// As it was sent.
    pub raw: &'a str,
}

/// Why a text is no path of a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathTemplateError {
    #[error("path {0:?} does not begin with a slash")]
    NotAbsolute(String),
    #[error("path of {count} segments exceeds the limit of {SEGMENTS_MAX}")]
    TooManySegments { count: usize },
    #[error("segment {0:?} is neither text nor one parameter such as {{id}}")]
    Part(String),
    #[error("segment {0:?} is empty, \".\" or \"..\", which no request has there")]
    Unmatched(String),
    #[error("segment {0:?} is not percent-encoded utf-8")]
    Encoding(String),
    #[error("{0:?} is no name of a parameter: letters, digits, dashes and underscores")]
    Name(String),
    #[error("{0:?} is no type; write int, number, bool or string")]
    Type(String),
    #[error("parameter {0:?} stands twice in the path")]
    Twice(String),
    #[error("parameter {0:?} takes all that is left, and something follows it")]
    RestInside(String),
    #[error(
        "segment \"*\" is no wildcard: write {{name}} for one segment, {{name*}} for all that is left"
    )]
    Star,
}

impl PathTemplate {
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, PathTemplateError> {
        let rest = text.strip_prefix('/');
        let rest = rest.ok_or_else(|| PathTemplateError::NotAbsolute(shorten(text)))?;
        let count = rest.split('/').count();
        if count > SEGMENTS_MAX {
            return Err(PathTemplateError::TooManySegments { count });
        }
        let mut parts = Vec::with_capacity(count);
        for (idx, segment) in rest.split('/').enumerate() {
            let is_last = idx + 1 == count;
            let part = TemplatePart::parse(segment, is_last)?;
            let is_named = |known: &TemplatePart| known.name() == part.name();
            if let Some(name) = part.name()
                && parts.iter().any(is_named)
            {
                return Err(PathTemplateError::Twice(name.to_string()));
            }
            parts.push(part);
        }
        Ok(Self {
            text: text.into(),
            parts,
        })
    }

    /// As it was written.
    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// Names of its parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &Text> {
        self.parts.iter().filter_map(TemplatePart::name)
    }

    /// Whether it takes paths below `prefix` only: `prefix` is literal in it.
    #[must_use]
    pub fn begins_with(&self, prefix: &[&str]) -> bool {
        let mut parts = self.parts.iter();
        prefix.iter().all(|wanted| {
            let part = parts.next();
            part.is_some_and(|part| matches!(part, TemplatePart::Literal(text) if text == wanted))
        })
    }

    /// Whether it takes a path of `n_segments` segments with text below `prefix`, which is literal in it.
    #[must_use]
    pub fn takes_below(&self, prefix: &[&str], n_segments: usize) -> bool {
        let rest = self.parts.get(prefix.len()..).unwrap_or_default();
        let is_empty =
            |part: &TemplatePart| matches!(part, TemplatePart::Literal(text) if text.is_empty());
        let n_matches = match rest.last() {
            // One segment or more.
            Some(TemplatePart::Rest { .. }) => rest.len() <= n_segments,
            Some(_) | None => rest.len() == n_segments,
        };
        n_matches && self.begins_with(prefix) && !rest.iter().any(is_empty)
    }

    /// What its parameters are in `path`. `None` where it does not take the path.
    #[must_use]
    pub fn params<'a>(&'a self, path: &RequestPath<'a>) -> Option<Vec<PathParam<'a>>> {
        let segments = path.segments();
        let mut params = Vec::new();
        for (idx, part) in self.parts.iter().enumerate() {
            let segment = segments.get(idx)?;
            match part {
                TemplatePart::Literal(text) => {
                    if *text != *segment.text {
                        return None;
                    }
                }
                TemplatePart::Param { name, kind } => {
                    if !kind.takes(segment) {
                        return None;
                    }
                    params.push(PathParam {
                        name,
                        kind: *kind,
                        value: segment.text.clone().into_owned(),
                        raw: segment.raw,
                    });
                }
                TemplatePart::Rest { name } => {
                    let left = segments.get(idx..)?;
                    let texts: Vec<_> = left.iter().map(|segment| &*segment.text).collect();
                    let raw_length = left.iter().map(|one| one.raw.len() + 1).sum::<usize>() - 1;
                    let raw_start = path.raw().len() - raw_length;
                    params.push(PathParam {
                        name,
                        kind: ParamType::String,
                        value: texts.join("/"),
                        raw: path.raw().get(raw_start..)?,
                    });
                    return Some(params);
                }
            }
        }
        (segments.len() == self.parts.len()).then_some(params)
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TemplatePart {
    fn parse(segment: &str, is_last: bool) -> Result<Self, PathTemplateError> {
        let inner = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(inner) = inner else {
            return Self::literal(segment, is_last);
        };
        if let Some(name) = inner.strip_suffix('*') {
            if !is_last {
                return Err(PathTemplateError::RestInside(name.to_owned()));
            }
            let name = param_name(name)?;
            return Ok(Self::Rest { name });
        }
        let (name, kind) = match inner.split_once(':') {
            Some((name, kind)) => {
                let unknown = || PathTemplateError::Type(shorten(kind));
                (name, ParamType::from_name(kind).ok_or_else(unknown)?)
            }
            None => (inner, ParamType::String),
        };
        let name = param_name(name)?;
        Ok(Self::Param { name, kind })
    }

    fn literal(segment: &str, is_last: bool) -> Result<Self, PathTemplateError> {
        if segment.contains(['{', '}', '?', '#']) {
            return Err(PathTemplateError::Part(shorten(segment)));
        }
        if segment == "*" {
            return Err(PathTemplateError::Star);
        }
        let encoding = || PathTemplateError::Encoding(shorten(segment));
        let text = decode(segment).ok_or_else(encoding)?;
        let is_unmatched = (text.is_empty() && !is_last) || text == "." || text == "..";
        if is_unmatched || text.chars().any(char::is_control) {
            return Err(PathTemplateError::Unmatched(shorten(segment)));
        }
        Ok(Self::Literal((&*text).into()))
    }

    const fn name(&self) -> Option<&Text> {
        match self {
            Self::Literal(_) => None,
            Self::Param { name, .. } | Self::Rest { name } => Some(name),
        }
    }
}

impl ParamType {
    /// All types, those that take fewer texts first.
    pub const ALL: [Self; 4] = [Self::Int, Self::Number, Self::Bool, Self::String];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Number => "number",
            Self::Bool => "bool",
            Self::String => "string",
        }
    }

    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether `text` reads so.
    #[must_use]
    pub fn reads(self, text: &str) -> bool {
        match self {
            Self::Int => is_json_number(text) && text.parse::<i64>().is_ok(),
            Self::Number => is_json_number(text),
            Self::Bool => text == "true" || text == "false",
            Self::String => true,
        }
    }

    /// Whether a parameter of the type takes a segment.
    pub(super) fn takes(self, segment: &PathSegment<'_>) -> bool {
        !segment.text.is_empty() && self.reads(&segment.text)
    }
}

/// Whether `text` is a number as JSON writes it, which it can then be written as.
fn is_json_number(text: &str) -> bool {
    let begins = |c: u8| c == b'-' || c.is_ascii_digit();
    text.bytes().next().is_some_and(begins)
        && text.bytes().next_back().is_some_and(|c| c.is_ascii_digit())
        && crate::json::check(text.as_bytes()).is_ok()
}

fn param_name(name: &str) -> Result<Text, PathTemplateError> {
    let is_octet = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let is_name = (1..=NAME_BYTES_MAX).contains(&name.len()) && name.chars().all(is_octet);
    match is_name {
        true => Ok(name.into()),
        false => Err(PathTemplateError::Name(shorten(name))),
    }
}

const NAME_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, path: &str, expected: Option<&[(&str, &str)]>) {
        let template = PathTemplate::parse(template).expect("a template");
        let path = RequestPath::parse(path).expect("a path");
        let params = template.params(&path);
        let params = params.as_ref().map(|params| {
            let pairs = params.iter().map(|one| (one.name.as_str(), &*one.value));
            pairs.collect::<Vec<_>>()
        });
        assert_eq!(params.as_deref(), expected, "{template} {path:?}");
    }

    #[test]
    fn literals_and_parameters_take_a_segment_each() {
        check("/", "/", Some(&[]));
        check("/users/{id}", "/users/7", Some(&[("id", "7")]));
        check("/users/{id}", "/users/a%2Fb", Some(&[("id", "a/b")]));
        check("/%75sers", "/user%73", Some(&[]));
        for path in [
            "/users",
            "/users/",
            "/users/7/",
            "/Users/7",
            "/users//7",
            "/",
        ] {
            check("/users/{id}", path, None);
        }
        check("/users/", "/users/", Some(&[]));
        check("/users/", "/users", None);
    }

    #[test]
    fn a_typed_parameter_takes_what_reads_so() {
        for (kind, good, bad) in [
            (
                "int",
                &["7", "-7", "0"][..],
                &["7.5", "+7", "07", "x", "9223372036854775808"][..],
            ),
            (
                "number",
                &["7", "7.5", "-1e3"],
                &["x", "NaN", "\"7\"", ".5", "1."],
            ),
            ("bool", &["true", "false"], &["1", "True"]),
        ] {
            let template = format!("/{{p:{kind}}}");
            for value in good {
                check(&template, &format!("/{value}"), Some(&[("p", value)]));
            }
            for value in bad {
                check(&template, &format!("/{value}"), None);
            }
        }
    }

    #[test]
    fn a_rest_takes_one_segment_or_more_of_any_form() {
        check("/files/{path*}", "/files/", Some(&[("path", "")]));
        check("/files/{path*}", "/files/a/b/", Some(&[("path", "a/b/")]));
        check("/files/{path*}", "/files//a", Some(&[("path", "/a")]));
        check("/files/{path*}", "/files", None);
        check("/{path*}", "/", Some(&[("path", "")]));
        let template = PathTemplate::parse("/f/{path*}").expect("a template");
        let path = RequestPath::parse("/f/a%20b/c").expect("a path");
        let params = template.params(&path).expect("taken");
        assert_eq!((&*params[0].value, params[0].raw), ("a b/c", "a%20b/c"));
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_part() {
        let refused = |text: &str| PathTemplate::parse(text).expect_err(text).to_string();
        for (text, expected) in [
            ("users", "path \"users\" does not begin with a slash"),
            (
                "/a{b}",
                "segment \"a{b}\" is neither text nor one parameter such as {id}",
            ),
            (
                "/{a}{b}",
                "\"a}{b\" is no name of a parameter: letters, digits, dashes and underscores",
            ),
            (
                "/a?b",
                "segment \"a?b\" is neither text nor one parameter such as {id}",
            ),
            (
                "/a//b",
                "segment \"\" is empty, \".\" or \"..\", which no request has there",
            ),
            (
                "/a/%2e%2e",
                "segment \"%2e%2e\" is empty, \".\" or \"..\", which no request has there",
            ),
            ("/%ff", "segment \"%ff\" is not percent-encoded utf-8"),
            (
                "/{}",
                "\"\" is no name of a parameter: letters, digits, dashes and underscores",
            ),
            (
                "/{a:float}",
                "\"float\" is no type; write int, number, bool or string",
            ),
            ("/{a}/{a*}", "parameter \"a\" stands twice in the path"),
            (
                "/a/*/b",
                "segment \"*\" is no wildcard: write {name} for one segment, {name*} for all that is left",
            ),
            (
                "/{a*}/b",
                "parameter \"a\" takes all that is left, and something follows it",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }

    #[test]
    fn what_is_taken_below_a_prefix_has_as_many_segments() {
        let takes = |text: &str, n_segments| {
            let template = PathTemplate::parse(text).expect("a template");
            template.takes_below(&["ws"], n_segments)
        };
        assert!(takes("/ws", 0) && !takes("/ws", 1) && !takes("/ws/", 1));
        assert!(takes("/ws/{a}/{b}", 2) && takes("/ws/a/b", 2) && takes("/ws/{a}/b", 2));
        assert!(takes("/ws/{rest*}", 2) && takes("/ws/{a}/{rest*}", 2));
        assert!(!takes("/ws/{rest*}", 0) && !takes("/ws/{a}/{b}/{rest*}", 2));
        assert!(!takes("/ws/a", 2) && !takes("/ws/a/b/c", 2) && !takes("/ws/a/", 2));
        assert!(!takes("/{ws}/a/b", 2) && !takes("/wsx/a/b", 2) && !takes("/{rest*}", 2));
    }

    #[test]
    fn a_prefix_is_literal() {
        let begins = |text: &str| {
            let template = PathTemplate::parse(text).expect("a template");
            template.begins_with(&["v1", "services"])
        };
        assert!(begins("/v1/services") && begins("/v1/services/{x}"));
        assert!(!begins("/v1/{x*}") && !begins("/v1/servicesx") && !begins("/v1"));
    }
}
