//! Which requests are calls of Connect. Pure.
//!
//! | request of `/{service}/{method}` | says itself that it is one |
//! | --- | --- |
//! | `POST` of `application/connect+*` or `application/proto` | yes |
//! | `POST` of anything with `connect-protocol-version` | yes |
//! | `GET` with `connect=v1` in its query | yes |
//! | `POST` of `application/json` | no |
//! | `GET` with `encoding` and `message` in its query | no |
//!
//! The protocol has no prefix of its own, and `POST` of JSON is what most routes take: `rpc.rs` says who gets
//! what does not say itself whose it is.

use http::{Method, header, request::Parts};
use postern_core::Text;

use super::{
    codec::{Codec, ContentKind},
    query::CallQuery,
};
use crate::http::path::{Resource, decode};

/// A request that may be a call.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::http) struct ConnectRequest {
    pub(in crate::http) service: Text,
    pub(in crate::http) method: Text,
    pub(super) form: RequestForm,
    /// Nothing else is meant by it.
    pub(in crate::http) says_so: bool,
}

/// How a request carries what it asks with.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestForm {
    /// Its body is the message.
    Unary(Codec),
    /// Its query has the message.
    Get(CallQuery),
    /// Its body has messages with envelopes.
    Stream(Codec),
    /// A content type of no codec that is known here; it may be empty.
    Strange(String),
}

impl ConnectRequest {
    /// What a request may call by its head; `None` where it is of another protocol.
    pub(in crate::http) fn of(head: &Parts) -> Option<Self> {
        let (form, says_so) = match head.method {
            Method::POST => post_form(head)?,
            Method::GET => {
                let query = CallQuery::of(head.uri.query()?)?;
                let is_marked = query.is_marked;
                (RequestForm::Get(query), is_marked)
            }
            _ => return None,
        };
        let (service, method) = names(head.uri.path())?;
        Some(Self {
            service,
            method,
            form,
            says_so,
        })
    }
}

fn post_form(head: &Parts) -> Option<(RequestForm, bool)> {
    let content_type = head.headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let has_version = head.headers.contains_key(VERSION);
    Some(match ContentKind::of(content_type.unwrap_or_default()) {
        ContentKind::Unary(Codec::Json) => (RequestForm::Unary(Codec::Json), has_version),
        ContentKind::Unary(codec) => (RequestForm::Unary(codec), true),
        ContentKind::Stream(codec) => (RequestForm::Stream(codec), true),
        ContentKind::StrangeStream(media) => (RequestForm::Strange(media.to_owned()), true),
        ContentKind::Other(media) if has_version => (RequestForm::Strange(media.to_owned()), true),
        ContentKind::Other(_) => return None,
    })
}

/// Service and method of a path of two segments. The listener's own paths have none.
fn names(path: &str) -> Option<(Text, Text)> {
    if Resource::is_own(path) {
        return None;
    }
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    let is_name = |segment: &str| !segment.is_empty() && !segment.contains('/');
    if !is_name(service) || !is_name(method) {
        return None;
    }
    Some((decode(service).ok()?, decode(method).ok()?))
}

/// Says that a request is of this protocol, in version `1`.
pub(super) const VERSION: &str = "connect-protocol-version";

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn head(line: &str, fields: &[(&str, &str)]) -> Parts {
        let (method, uri) = line.split_once(' ').expect("a method");
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    const PATH: &str = "/greet.v1.GreetService/Greet";

    #[track_caller]
    fn check(line: &str, fields: &[(&str, &str)], expected: Option<(RequestForm, bool)>) {
        let request = ConnectRequest::of(&head(line, fields));
        if let Some(request) = &request {
            assert_eq!(
                (&*request.service, &*request.method),
                ("greet.v1.GreetService", "Greet")
            );
        }
        let found = request.map(|request| (request.form, request.says_so));
        assert_eq!(found, expected, "{line} {fields:?}");
    }

    #[test]
    fn a_post_is_told_by_its_content_type_and_the_version() {
        let post = format!("POST {PATH}");
        let json = ("content-type", "application/json");
        let version = (VERSION, "1");
        check(
            &post,
            &[json],
            Some((RequestForm::Unary(Codec::Json), false)),
        );
        check(
            &post,
            &[json, version],
            Some((RequestForm::Unary(Codec::Json), true)),
        );
        let proto = ("content-type", "application/proto");
        check(
            &post,
            &[proto],
            Some((RequestForm::Unary(Codec::Proto), true)),
        );
        let stream = ("content-type", "application/connect+json");
        check(
            &post,
            &[stream],
            Some((RequestForm::Stream(Codec::Json), true)),
        );
        let strange = |media: &str| Some((RequestForm::Strange(media.to_owned()), true));
        let cbor = ("content-type", "application/connect+cbor");
        check(&post, &[cbor], strange("application/connect+cbor"));
        check(&post, &[("content-type", "a/b"), version], strange("a/b"));
        check(&post, &[version], strange(""));
        check(&post, &[("content-type", "a/b")], None);
        check(&post, &[], None);
    }

    #[test]
    fn a_get_is_told_by_its_query() {
        let says_so = |query: &str| {
            let request = ConnectRequest::of(&head(&format!("GET {PATH}?{query}"), &[]));
            request.map(|request| request.says_so)
        };
        assert_eq!(
            says_so("encoding=json&message=%7B%7D&connect=v1"),
            Some(true)
        );
        assert_eq!(says_so("encoding=json&message=%7B%7D"), Some(false));
        assert_eq!(says_so("a=b"), None);
        assert_eq!(ConnectRequest::of(&head(&format!("GET {PATH}"), &[])), None);
        let line = format!("PUT {PATH}?encoding=json&message=&connect=v1");
        check(&line, &[(VERSION, "1")], None);
    }

    #[test]
    fn a_path_has_a_service_and_a_method_and_no_more() {
        for path in [
            "/",
            "/a",
            "/a/",
            "//b",
            "/a/b/c",
            "/v1/services",
            "/v1/services/a/b",
            "/a/%ff",
        ] {
            let head = head(
                &format!("POST {path}"),
                &[("content-type", "application/proto")],
            );
            assert_eq!(ConnectRequest::of(&head), None, "{path}");
        }
    }
}
