//! Documents about a listener, where it serves them and no route has their paths: `/openapi.json`, which
//! says what the caller may call, and `/docs`, a page that shows it. The page is the same for everybody
//! and loads nothing from elsewhere; what it shows is asked of `/openapi.json`, with the credentials that
//! are typed into it.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};
use sha2::{Digest, Sha256};

use super::{JSON, reply::ReplyBody};

/// Which documents a listener serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentsConfig {
    /// `/openapi.json`.
    pub serves_openapi: bool,
    /// `/docs`.
    pub serves_docs: bool,
}

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Document {
    OpenApi,
    Docs,
}

impl Default for DocumentsConfig {
    fn default() -> Self {
        Self {
            serves_openapi: true,
            serves_docs: true,
        }
    }
}

impl DocumentsConfig {
    /// The document that a listener serves at `path`.
    pub(super) fn at(self, path: &str) -> Option<Document> {
        match path {
            "/openapi.json" if self.serves_openapi => Some(Document::OpenApi),
            "/docs" if self.serves_docs => Some(Document::Docs),
            _ => None,
        }
    }
}

/// The document in JSON, with an entity tag of its octets.
pub(super) fn openapi(document: Bytes, method: &Method) -> Response<ReplyBody> {
    let tag = entity_tag(&document);
    let mut response = whole(document, JSON, method);
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    // It differs by caller and changes with every deployment.
    let private = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, private);
    response
}

/// The page.
pub(super) fn docs(method: &Method) -> Response<ReplyBody> {
    let page = Bytes::from_static(DOCS_PAGE.as_bytes());
    let mut response = whole(page, "text/html; charset=utf-8", method);
    let policy = HeaderValue::from_str(&DOCS_POLICY);
    let headers = response.headers_mut();
    // Base64 and ASCII: a value in any case.
    if let Ok(policy) = policy {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    headers.insert(header::ETAG, entity_tag(DOCS_PAGE.as_bytes()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

fn whole(body: Bytes, media_type: &'static str, method: &Method) -> Response<ReplyBody> {
    let length = body.len();
    let body = match *method {
        Method::HEAD => Bytes::new(),
        _ => body,
    };
    let mut response = Response::new(ReplyBody::whole(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}

/// A strong tag (RFC 9110 section 8.8.3) of the SHA-256 of `octets`.
fn entity_tag(octets: &[u8]) -> HeaderValue {
    let tag = format!("\"{}\"", STANDARD.encode(Sha256::digest(octets)));
    // Base64 has no quote and no control character.
    HeaderValue::from_str(&tag).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The page in HTML.
const DOCS_PAGE: &str = include_str!("documents/docs.html");

/// Its policy (CSP 3): its own script and style by their hashes, requests to its own origin, nothing
/// else.
static DOCS_POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = |tag: &str| {
        let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
        let inner = DOCS_PAGE.split_once(&open).map_or("", |(_, rest)| rest);
        let inner = inner.split_once(&close).map_or("", |(inner, _)| inner);
        STANDARD.encode(Sha256::digest(inner))
    };
    let (script, style) = (hash("script"), hash("style"));
    format!(
        "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; \
         connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_names_no_other_host() {
        for scheme in ["://", "\"//", "'//", "src=", "@import", "url("] {
            assert!(!DOCS_PAGE.contains(scheme), "{scheme}");
        }
    }

    #[test]
    fn the_policy_has_a_hash_of_what_the_page_has() {
        let empty = STANDARD.encode(Sha256::digest(b""));
        assert_eq!(DOCS_PAGE.matches("<script>").count(), 1);
        assert_eq!(DOCS_PAGE.matches("<style>").count(), 1);
        assert!(!DOCS_POLICY.contains(&empty), "{}", *DOCS_POLICY);
        assert_eq!(DOCS_POLICY.matches("'sha256-").count(), 2);
        // What would need more than the hashes.
        for attribute in [" style=", " onclick=", "javascript:"] {
            assert!(!DOCS_PAGE.contains(attribute), "{attribute}");
        }
    }

    #[test]
    fn a_listener_serves_those_that_it_is_told_to() {
        let none = DocumentsConfig {
            serves_openapi: false,
            serves_docs: false,
        };
        let both = DocumentsConfig::default();
        assert_eq!(both.at("/openapi.json"), Some(Document::OpenApi));
        assert_eq!(both.at("/docs"), Some(Document::Docs));
        for path in ["/docs/", "/openapi", "/"] {
            assert_eq!(both.at(path), None);
        }
        assert_eq!((none.at("/openapi.json"), none.at("/docs")), (None, None));
    }
}
