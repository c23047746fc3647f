//! Paths as `google.api.http` writes them (google/api/http.proto, "Path template syntax"):
//!
//! ```text
//! Template = "/" Segments [ Verb ] ;
//! Segments = Segment { "/" Segment } ;
//! Segment  = "*" | "**" | LITERAL | Variable ;
//! Variable = "{" FieldPath [ "=" Segments ] "}" ;
//! FieldPath = IDENT { "." IDENT } ;
//! Verb     = ":" LITERAL ;
//! ```
//! | part | takes |
//! | --- | --- |
//! | `shelves` | that segment |
//! | `*` | one segment that is not empty |
//! | `**` | all that is left, or nothing; last in a path, but for a verb |
//! | `{name=shelves/*}` | what `shelves/*` takes, which is parameter `name` |
//! | `{name}` | as `{name=*}` |
//! | `:archive` | a last segment that ends so |
//!
//! A parameter of one segment is decoded; of one that may have several, all but `%2F` is.

use super::{
    path::{SEGMENTS_MAX, shorten},
    template::{NAME_BYTES_MAX, ParamType, PathTemplate, PathTemplateError, TemplatePart},
};
use crate::text::Text;

impl PathTemplate {
    /// Reads the path of a rule.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse_http_rule(text: &str) -> Result<Self, PathTemplateError> {
        let rest = text.strip_prefix('/');
        let mut rest = rest.ok_or_else(|| PathTemplateError::NotAbsolute(shorten(text)))?;
        let mut template = Self::empty(text);
        let mut form = String::with_capacity(text.len());
        loop {
            rest = template.push_segment(rest, &mut form)?;
            let count = template.parts.len();
            if count > SEGMENTS_MAX {
                return Err(PathTemplateError::TooManySegments { count });
            }
            match rest.strip_prefix('/') {
                Some(more) => rest = more,
                None => break,
            }
        }
        if let Some(verb) = rest.strip_prefix(':') {
            template.verb = Some(verb_of(verb)?);
            form.push_str(rest);
        } else if !rest.is_empty() {
            return Err(PathTemplateError::Part(shorten(text)));
        }
        template.form = form.into();
        let mut before_last = template.parts.iter().rev().skip(1);
        match before_last.any(|part| matches!(part, TemplatePart::Rest { .. })) {
            true => Err(PathTemplateError::RestInside("**".to_owned())),
            false => Ok(template),
        }
    }

    /// Takes one segment, or one variable, off the front of `text`.
    fn push_segment<'t>(
        &mut self,
        text: &'t str,
        form: &mut String,
    ) -> Result<&'t str, PathTemplateError> {
        if let Some(inner) = text.strip_prefix('{') {
            let wrong = || PathTemplateError::Variable(shorten(text));
            let (inner, rest) = inner.split_once('}').ok_or_else(wrong)?;
            self.push_variable(inner, form)?;
            return Ok(rest);
        }
        let (segment, rest) = text.split_at(text.find('/').unwrap_or(text.len()));
        // What follows a star can only be a verb; the caller looks at it.
        let name = segment.split_once(':').map_or(segment, |(name, _)| name);
        if let Some((part, shown)) = star(name) {
            self.parts.push(part);
            form.push_str(shown);
            return Ok(text.get(name.len()..).unwrap_or_default());
        }
        // The verb of a path that ends with text is a part of that text.
        let literal = TemplatePart::literal(segment, rest.is_empty())?;
        self.parts.push(literal);
        push_literal(form, segment);
        Ok(rest)
    }

    fn push_variable(&mut self, inner: &str, form: &mut String) -> Result<(), PathTemplateError> {
        let (name, segments) = inner.split_once('=').unwrap_or((inner, "*"));
        let name = field_path(name)?;
        let first = self.parts.len();
        for segment in segments.split('/') {
            let part = if let Some((part, shown)) = star(segment) {
                form.push_str(shown);
                part
            } else {
                push_literal(form, segment);
                TemplatePart::literal(segment, false)?
            };
            self.parts.push(part);
        }
        let parts = first..self.parts.len();
        let own = self.parts.get(parts.clone()).unwrap_or_default();
        let is_one = !matches!(own, [] | [_, _, ..] | [TemplatePart::Rest { .. }]);
        self.name_parts(name, parts, !is_one)
    }
}

/// What a star takes, and how the configuration would write that.
fn star(segment: &str) -> Option<(TemplatePart, &'static str)> {
    match segment {
        "*" => Some((TemplatePart::Segment(ParamType::String), "/{_}")),
        "**" => Some((TemplatePart::Rest { may_be_none: true }, "/{_**}")),
        _ => None,
    }
}

fn push_literal(form: &mut String, segment: &str) {
    form.push('/');
    form.push_str(segment);
}

/// A verb, without its colon.
fn verb_of(text: &str) -> Result<Text, PathTemplateError> {
    let wrong = || PathTemplateError::Verb(shorten(text));
    if text.is_empty() || text.contains(['/', ':', '*']) {
        return Err(wrong());
    }
    match TemplatePart::literal(text, false).map_err(|_| wrong())? {
        TemplatePart::Literal(verb) => Ok(verb),
        TemplatePart::Segment(_) | TemplatePart::Rest { .. } => Err(wrong()),
    }
}

/// `IDENT { "." IDENT }`: letters, digits and underscores, as protobuf has them.
fn field_path(text: &str) -> Result<Text, PathTemplateError> {
    let is_ident = |ident: &str| {
        !ident.is_empty() && ident.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    match text.len() <= NAME_BYTES_MAX && text.split('.').all(is_ident) {
        true => Ok(text.into()),
        false => Err(PathTemplateError::Variable(shorten(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::path::RequestPath, *};

    #[track_caller]
    fn check(template: &str, path: &str, expected: Option<&[(&str, &str)]>) {
        let template = PathTemplate::parse_http_rule(template).expect("a template");
        let path = RequestPath::parse(path).expect("a path");
        let params = template.params(&path);
        let params = params.as_ref().map(|params| {
            let pairs = params.iter().map(|one| (one.name.as_str(), &*one.value));
            pairs.collect::<Vec<_>>()
        });
        assert_eq!(params.as_deref(), expected, "{template} {path:?}");
    }

    #[test]
    fn a_variable_has_the_segments_that_it_says() {
        let books = "/v1/{name=shelves/*/books/*}";
        let name = Some(&[("name", "shelves/1/books/2")][..]);
        check(books, "/v1/shelves/1/books/2", name);
        for path in [
            "/v1/shelves/1",
            "/v1/shelves/1/books/",
            "/v1/shelves//books/2",
            "/v1/x/1/books/2",
        ] {
            check(books, path, None);
        }
        check("/v1/*/{id}", "/v1/a/b", Some(&[("id", "b")]));
        check(
            "/v1/{a.b_c=x/*}/{d=*}/y",
            "/v1/x/1/2/y",
            Some(&[("a.b_c", "x/1"), ("d", "2")]),
        );
        check("/v1/{kind=users}", "/v1/users", Some(&[("kind", "users")]));
        check("/", "/", Some(&[]));
    }

    #[test]
    fn two_stars_take_what_is_left_or_nothing() {
        let file = "/v1/{bucket}/{object=**}";
        check(file, "/v1/b/o", Some(&[("bucket", "b"), ("object", "o")]));
        check(
            file,
            "/v1/b/o/p//",
            Some(&[("bucket", "b"), ("object", "o/p//")]),
        );
        check(file, "/v1/b", Some(&[("bucket", "b"), ("object", "")]));
        check(file, "/v1", None);
        check(
            "/v1/{name=shelves/**}",
            "/v1/shelves",
            Some(&[("name", "shelves")]),
        );
        check("/v1/**", "/v1/a/b", Some(&[]));
        check("/**", "/", Some(&[]));
    }

    #[test]
    fn a_verb_ends_the_last_segment() {
        let archive = "/v1/{name=shelves/*}:archive";
        check(
            archive,
            "/v1/shelves/1:archive",
            Some(&[("name", "shelves/1")]),
        );
        for path in [
            "/v1/shelves/1",
            "/v1/shelves/1:delete",
            "/v1/shelves/1%3Aarchive",
            "/v1/shelves/:archive",
        ] {
            check(archive, path, None);
        }
        check("/v1/{name=**}:x", "/v1/a/b:x", Some(&[("name", "a/b")]));
        check("/v1/{name=**}:x", "/v1:x", Some(&[("name", "")]));
        check("/v1/*:x", "/v1/a:b:x", Some(&[]));
        check("/v1/books:search", "/v1/books:search", Some(&[]));
        check("/v1/books:search", "/v1/books", None);
        check("/v1/{id}", "/v1/a:b", Some(&[("id", "a:b")]));
    }

    /// google/api/http.proto: "except "%2F" and "%2f" are left unchanged".
    #[test]
    fn one_segment_is_decoded_and_of_several_all_but_slashes() {
        check("/v1/{id}", "/v1/a%2Fb%20c", Some(&[("id", "a/b c")]));
        check("/v1/{id=*}", "/v1/a%2Fb", Some(&[("id", "a/b")]));
        check(
            "/v1/{id=x/*}",
            "/v1/x/a%2Fb%20c",
            Some(&[("id", "x/a%2Fb c")]),
        );
        check("/v1/{id=**}", "/v1/a%2fb/c%3A", Some(&[("id", "a%2fb/c:")]));
    }

    #[test]
    fn a_form_is_the_same_whatever_parameters_are_called() {
        for (text, form) in [
            (
                "/v1/{name=shelves/*/books/*}:move",
                "/v1/shelves/{_}/books/{_}:move",
            ),
            (
                "/v1/shelves/{a}/books/{b}:move",
                "/v1/shelves/{_}/books/{_}:move",
            ),
            ("/v1/*/{a=**}", "/v1/{_}/{_**}"),
            ("/v1/%62:x", "/v1/%62:x"),
            ("/", "/"),
        ] {
            let template = PathTemplate::parse_http_rule(text).expect("a template");
            assert_eq!(template.form(), form);
        }
        let template = PathTemplate::parse("/users/{id:int}").expect("a template");
        assert_eq!(template.form(), "/users/{id:int}");
    }

    #[test]
    fn what_is_no_template_is_refused_with_its_part() {
        let refused = |text: &str| {
            PathTemplate::parse_http_rule(text)
                .expect_err(text)
                .to_string()
        };
        for (text, expected) in [
            ("v1", "path \"v1\" does not begin with a slash"),
            (
                "/v1/{name",
                "\"{name\" is no variable such as {name} or {name=shelves/*}",
            ),
            (
                "/v1/{}",
                "\"\" is no variable such as {name} or {name=shelves/*}",
            ),
            (
                "/v1/{a..b}",
                "\"a..b\" is no variable such as {name} or {name=shelves/*}",
            ),
            (
                "/v1/{a={b}}",
                "segment \"{b\" is neither text nor one parameter such as {id}",
            ),
            (
                "/v1/{a}b",
                "segment \"/v1/{a}b\" is neither text nor one parameter such as {id}",
            ),
            (
                "/v1/{a=x/}",
                "segment \"\" is empty, \".\" or \"..\", which no request has there",
            ),
            ("/v1/{a}/{a=x}", "parameter \"a\" stands twice in the path"),
            (
                "/v1/{a=**}/b",
                "\"**\" takes all that is left, and something follows it",
            ),
            (
                "/v1/**/b",
                "\"**\" takes all that is left, and something follows it",
            ),
            (
                "/v1/{a}:",
                "\"\" is no verb: text behind a colon, at the end of the path",
            ),
            (
                "/v1/{a}:b/c",
                "\"b/c\" is no verb: text behind a colon, at the end of the path",
            ),
            (
                "/v1//a",
                "segment \"\" is empty, \".\" or \"..\", which no request has there",
            ),
        ] {
            assert_eq!(refused(text), expected);
        }
    }
}
