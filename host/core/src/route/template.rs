//! Paths of routes: `/users/{id}`, `/users/{id:int}`, `/files/{path*}`.
//!
//! | part | takes |
//! | --- | --- |
//! | `users` | that segment, after decoding; case counts |
//! | `{id}` | one segment that is not empty |
//! | `{id:int}`, `{id:number}`, `{id:bool}` | one segment that reads so |
//! | `{path*}` | all that is left, last in a path: one segment or more, of any form |
//!
//! Paths of `google.api.http` are templates as well, written in another way (`http_rule.rs`): their
//! parameters may have several segments, and a verb may follow. Parts take segments, and parameters are
//! ranges of parts, so that both are one form here, and one tree finds them.

#[cfg(test)]
mod tests;

use std::{borrow::Cow, fmt, ops::Range};

use super::path::{PathSegment, RequestPath, SEGMENTS_MAX, decode, shorten, split_verb};
use crate::text::Text;

/// A route's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: Text,
    pub(super) parts: Vec<TemplatePart>,
    variables: Vec<PathVariable>,
    /// What the last segment of a path ends with, behind a colon.
    pub(super) verb: Option<Text>,
    /// As the configuration would write it.
    pub(super) form: Text,
}

/// What takes one segment, or the rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplatePart {
    /// That text, decoded.
    Literal(Text),
    /// A segment that is not empty and reads so.
    Segment(ParamType),
    /// All that is left, of any form.
    Rest {
        /// Whether nothing may be left.
        may_be_none: bool,
    },
}

/// A parameter, and the parts that it is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PathVariable {
    pub(super) name: Text,
    pub(super) parts: Range<usize>,
    /// `%2F` within its segments stays as it is, so that no slash is taken for one that parts them.
    pub(super) keeps_slashes: bool,
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
    /// Decoded; of several segments, with slashes between them.
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
    #[error("{0:?} takes all that is left, and something follows it")]
    RestInside(String),
    #[error("{0:?} is no variable such as {{name}} or {{name=shelves/*}}")]
    Variable(String),
    #[error("{0:?} is no verb: text behind a colon, at the end of the path")]
    Verb(String),
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
        let mut template = Self::empty(text);
        for (idx, segment) in rest.split('/').enumerate() {
            let is_last = idx + 1 == count;
            let (part, name) = TemplatePart::parse(segment, is_last)?;
            template.parts.push(part);
            if let Some(name) = name {
                template.name_parts(name, idx..idx + 1, false)?;
            }
        }
        Ok(template)
    }

    /// Written as `text`, without parts yet.
    pub(super) fn empty(text: &str) -> Self {
        Self {
            text: text.into(),
            parts: Vec::new(),
            variables: Vec::new(),
            verb: None,
            form: text.into(),
        }
    }

    /// The parts of that range are parameter `name`.
    pub(super) fn name_parts(
        &mut self,
        name: Text,
        parts: Range<usize>,
        keeps_slashes: bool,
    ) -> Result<(), PathTemplateError> {
        if self.names().any(|known| *known == name) {
            return Err(PathTemplateError::Twice(name.to_string()));
        }
        self.variables.push(PathVariable {
            name,
            parts,
            keeps_slashes,
        });
        Ok(())
    }

    /// As it was written.
    #[must_use]
    pub const fn text(&self) -> &Text {
        &self.text
    }

    /// A text that is the same for templates that take the same paths, but for the names of parameters: as
    /// the configuration writes it, with `{_**}` for what takes all that is left or nothing.
    #[must_use]
    pub const fn form(&self) -> &Text {
        &self.form
    }

    /// Names of its parameters, in order.
    pub fn names(&self) -> impl Iterator<Item = &Text> {
        self.variables.iter().map(|variable| &variable.name)
    }

    /// Its parts in order, each with the parameter that it belongs to.
    pub fn parts(&self) -> impl Iterator<Item = (&TemplatePart, Option<&Text>)> {
        let parts = self.parts.iter().enumerate();
        parts.map(|(idx, part)| {
            let mut variables = self.variables.iter();
            let variable = variables.find(|variable| variable.parts.contains(&idx));
            (part, variable.map(|variable| &variable.name))
        })
    }

    /// What the last segment ends with behind a colon, where a parameter stands before it.
    #[must_use]
    pub const fn verb(&self) -> Option<&Text> {
        self.verb.as_ref()
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
            Some(TemplatePart::Rest { may_be_none }) => {
                rest.len() <= n_segments + usize::from(*may_be_none)
            }
            Some(_) | None => rest.len() == n_segments,
        };
        n_matches && self.begins_with(prefix) && !rest.iter().any(is_empty)
    }

    /// What its parameters are in `path`. `None` where it does not take the path.
    #[must_use]
    pub fn params<'a>(&'a self, path: &RequestPath<'a>) -> Option<Vec<PathParam<'a>>> {
        let segments = match &self.verb {
            None => Cow::Borrowed(path.segments()),
            Some(verb) => {
                let (segments, found) = split_verb(path.segments())?;
                (*verb == *found).then_some(Cow::Owned(segments))?
            }
        };
        if !self.takes(&segments) {
            return None;
        }
        let params = self.variables.iter();
        let params = params.map(|variable| self.param(variable, &segments, path.raw()));
        params.collect()
    }

    fn takes(&self, segments: &[PathSegment<'_>]) -> bool {
        let mut left = segments;
        for part in &self.parts {
            let (segment, behind) = match (left.split_first(), part) {
                (None, TemplatePart::Rest { may_be_none }) => return *may_be_none,
                (Some(_), TemplatePart::Rest { .. }) => return true,
                (None, TemplatePart::Literal(_) | TemplatePart::Segment(_)) => return false,
                (Some(split), TemplatePart::Literal(_) | TemplatePart::Segment(_)) => split,
            };
            let is_taken = match part {
                TemplatePart::Literal(text) => *text == *segment.text,
                TemplatePart::Segment(kind) => kind.takes(segment),
                TemplatePart::Rest { .. } => true,
            };
            if !is_taken {
                return false;
            }
            left = behind;
        }
        left.is_empty()
    }

    /// What `variable` is in the path `raw`, which has `segments` and is taken.
    fn param<'a>(
        &'a self,
        variable: &'a PathVariable,
        segments: &[PathSegment<'a>],
        raw: &'a str,
    ) -> Option<PathParam<'a>> {
        let Range { start, end } = variable.parts;
        let last = self.parts.get(end.checked_sub(1)?)?;
        let own = match last {
            TemplatePart::Rest { .. } => segments.get(start..)?,
            TemplatePart::Literal(_) | TemplatePart::Segment(_) => segments.get(start..end)?,
        };
        // A slash stands before each segment.
        let length = |segments: &[PathSegment<'_>]| {
            let lengths = segments.iter().map(|segment| segment.raw.len() + 1);
            lengths.sum::<usize>()
        };
        let raw = match own {
            [] => "",
            own => {
                let begin = length(segments.get(..start)?) + 1;
                raw.get(begin..begin + length(own) - 1)?
            }
        };
        let texts = own.iter().map(|segment| match variable.keeps_slashes {
            true => segment.text_with_slashes_escaped(),
            false => Cow::Borrowed(&*segment.text),
        });
        Some(PathParam {
            name: &variable.name,
            kind: match (last, own) {
                (TemplatePart::Segment(kind), [_]) => *kind,
                (_, _) => ParamType::String,
            },
            value: texts.collect::<Vec<_>>().join("/"),
            raw,
        })
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl TemplatePart {
    /// A part, and the name of the parameter that it is.
    fn parse(segment: &str, is_last: bool) -> Result<(Self, Option<Text>), PathTemplateError> {
        let inner = segment
            .strip_prefix('{')
            .and_then(|rest| rest.strip_suffix('}'));
        let Some(inner) = inner else {
            return Ok((Self::literal(segment, is_last)?, None));
        };
        if let Some(name) = inner.strip_suffix('*') {
            if !is_last {
                return Err(PathTemplateError::RestInside(name.to_owned()));
            }
            let rest = Self::Rest { may_be_none: false };
            return Ok((rest, Some(param_name(name)?)));
        }
        let (name, kind) = match inner.split_once(':') {
            Some((name, kind)) => {
                let unknown = || PathTemplateError::Type(shorten(kind));
                (name, ParamType::from_name(kind).ok_or_else(unknown)?)
            }
            None => (inner, ParamType::String),
        };
        Ok((Self::Segment(kind), Some(param_name(name)?)))
    }

    pub(super) fn literal(segment: &str, is_last: bool) -> Result<Self, PathTemplateError> {
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

/// Longest name of a parameter.
pub(super) const NAME_BYTES_MAX: usize = 64;
