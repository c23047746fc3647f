//! Cross-origin resource sharing: which pages of other origins a browser may let call the listener.
//! Protocol: <https://fetch.spec.whatwg.org/#http-cors-protocol>. Pure.
//!
//! | request | answer |
//! | --- | --- |
//! | `OPTIONS` with `origin` and `access-control-request-method` | 204 from the listener itself; the pipeline never sees it |
//! | any other with `origin` | the usual answer, with `access-control-allow-origin` where the origin is allowed |
//!
//! An origin that is not allowed gets no `access-control-*` field at all, so the browser refuses;
//! its calls are refused here, too (origin.rs).
//! `vary` names `origin` on every answer whose fields depend on it, also on those to no origin.
//!
//! What the listener refuses by content type stays refused: sharing adds to what a page may read, it
//! takes no check away.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request};

use super::reply::ReplyBody;

/// Which pages may call, as it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CorsConfig {
    /// `https://example.org`, `https://*.example.org`, `null`, or `*` for every origin.
    pub origins: Vec<String>,
    /// Methods that a preflight is told.
    pub methods: Vec<String>,
    /// Request headers that a preflight is told; `*` allows whatever is asked for.
    pub headers: Vec<String>,
    /// Response headers that a page may read beside the safe-listed ones.
    pub exposed_headers: Vec<String>,
    /// Whether a page may send cookies and the like.
    pub credentials: bool,
    /// How long a browser may remember a preflight.
    pub max_age: Duration,
}

/// Which pages may call, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    origins: Origins,
    methods: HeaderValue,
    /// `None` repeats what the preflight asks for.
    headers: Option<HeaderValue>,
    exposed_headers: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origins {
    Every,
    Some(Vec<Origin>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Origin {
    Exact(String),
    /// `https://*.example.org` is (`https://`, `.example.org`).
    Below {
        scheme: String,
        suffix: String,
    },
}

/// Why a configuration of sharing is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    #[error("{origin:?} is not an origin")]
    Origin { origin: String },
    #[error("{method:?} is not a method")]
    Method { method: String },
    #[error("{name:?} is not a header name")]
    Header { name: String },
    #[error("credentials are never shared with every origin")]
    CredentialsForAll,
}

impl Cors {
    /// # Errors
    /// The first thing that cannot stand in a header, or credentials together with `*`.
    pub fn new(config: &CorsConfig) -> Result<Self, CorsError> {
        let origins = if config.origins.iter().any(|origin| origin == "*") {
            Origins::Every
        } else {
            let origins = config.origins.iter().map(|origin| Origin::parse(origin));
            Origins::Some(origins.collect::<Result<_, _>>()?)
        };
        if origins == Origins::Every && config.credentials {
            return Err(CorsError::CredentialsForAll);
        }
        for method in &config.methods {
            Method::from_bytes(method.as_bytes()).map_err(|_| CorsError::Method {
                method: method.clone(),
            })?;
        }
        let headers = if config.headers.iter().any(|name| name == "*") {
            None
        } else {
            Some(names(&config.headers)?)
        };
        let exposed_headers = names(&config.exposed_headers)?;
        Ok(Self {
            origins,
            methods: listed(&config.methods),
            headers,
            exposed_headers: (!exposed_headers.is_empty()).then_some(exposed_headers),
            credentials: config.credentials,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        })
    }

    /// The answer to a preflight; `None` when the request is none.
    pub(super) fn preflight(&self, head: &request::Parts) -> Option<Response<ReplyBody>> {
        let is_preflight = head.method == Method::OPTIONS
            && head.headers.contains_key(header::ORIGIN)
            && head
                .headers
                .contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if !is_preflight {
            return None;
        }
        let mut response = Response::new(ReplyBody::whole(Bytes::new()));
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static(PREFLIGHT_VARIES));
        let Some(origin) = self.allowed(head.headers.get(header::ORIGIN)) else {
            return Some(response);
        };
        self.share(origin, headers);
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, self.methods.clone());
        let asked = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS);
        if let Some(allowed) = self.headers.as_ref().or(asked) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.clone());
        }
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        Some(response)
    }

    /// Adds to an answer what the page at `origin` needs in order to read it.
    pub(super) fn decorate(&self, origin: Option<&HeaderValue>, headers: &mut HeaderMap) {
        // What a handler says about sharing would contradict what the listener says.
        for name in [
            header::ACCESS_CONTROL_ALLOW_ORIGIN,
            header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
        ] {
            headers.remove(name);
        }
        if self.origins != Origins::Every {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
        let Some(origin) = self.allowed(origin) else {
            return;
        };
        self.share(origin, headers);
        if let Some(exposed) = &self.exposed_headers {
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed.clone());
        }
    }

    /// What to write as the allowed origin; `None` when it is not allowed.
    fn allowed(&self, origin: Option<&HeaderValue>) -> Option<HeaderValue> {
        let origin = origin?;
        match &self.origins {
            Origins::Every => Some(HeaderValue::from_static("*")),
            Origins::Some(origins) => {
                let text = origin.to_str().ok()?;
                let is_allowed = origins.iter().any(|allowed| allowed.matches(text));
                is_allowed.then(|| origin.clone())
            }
        }
    }

    /// Whether pages of `origin` may call.
    pub(super) fn allows(&self, origin: Option<&HeaderValue>) -> bool {
        self.allowed(origin).is_some()
    }

    /// Whether pages of every origin may call.
    pub(super) fn allows_every(&self) -> bool {
        self.origins == Origins::Every
    }

    fn share(&self, origin: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}

impl Origin {
    fn parse(text: &str) -> Result<Self, CorsError> {
        let refused = || CorsError::Origin {
            origin: text.to_owned(),
        };
        if text == "null" {
            return Ok(Self::Exact(text.to_owned()));
        }
        let (scheme, host) = text.split_once("://").ok_or_else(refused)?;
        let is_scheme = !scheme.is_empty() && scheme.bytes().all(|c| c.is_ascii_lowercase());
        let is_below = host.starts_with("*.");
        let rest = host.strip_prefix("*.").unwrap_or(host);
        // Browsers send hosts in lower case and no path.
        let is_host = !rest.is_empty()
            && rest
                .bytes()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b".-_:[]".contains(&c));
        if !is_scheme || !is_host {
            return Err(refused());
        }
        Ok(if is_below {
            Self::Below {
                scheme: format!("{scheme}://"),
                suffix: format!(".{rest}"),
            }
        } else {
            Self::Exact(text.to_owned())
        })
    }

    fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == origin,
            Self::Below { scheme, suffix } => origin
                .strip_prefix(scheme.as_str())
                .and_then(|host| host.strip_suffix(suffix.as_str()))
                .is_some_and(|label| !label.is_empty() && !label.contains(['/', '@', ':'])),
        }
    }
}

fn names(names: &[String]) -> Result<HeaderValue, CorsError> {
    for name in names {
        HeaderName::from_bytes(name.as_bytes())
            .map_err(|_| CorsError::Header { name: name.clone() })?;
    }
    Ok(listed(names))
}

/// Tokens joined by commas. Each was checked, so the value is legal.
fn listed(items: &[String]) -> HeaderValue {
    HeaderValue::from_str(&items.join(", ")).unwrap_or(HeaderValue::from_static(""))
}

const PREFLIGHT_VARIES: &str =
    "origin, access-control-request-method, access-control-request-headers";

#[cfg(test)]
mod tests {
    use super::*;

    fn config(origins: &[&str]) -> CorsConfig {
        CorsConfig {
            origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
            methods: vec!["POST".to_owned()],
            headers: vec!["content-type".to_owned()],
            exposed_headers: vec![],
            credentials: false,
            max_age: Duration::from_secs(600),
        }
    }

    #[track_caller]
    fn check(allowed: &str, origin: &str, expected: bool) {
        let cors = Cors::new(&config(&[allowed])).expect("legal");
        let origin = HeaderValue::from_str(origin).expect("legal");
        assert_eq!(
            cors.allowed(Some(&origin)).is_some(),
            expected,
            "{origin:?}"
        );
    }

    #[test]
    fn an_origin_is_matched_whole() {
        check("https://example.org", "https://example.org", true);
        check("https://example.org", "http://example.org", false);
        check("https://example.org", "https://example.org:8443", false);
        check("https://example.org", "https://example.org.evil", false);
        check("https://example.org:8443", "https://example.org:8443", true);
        check("null", "null", true);
        check("*", "https://anything", true);
    }

    #[test]
    fn a_star_stands_for_labels_and_nothing_else() {
        let below = "https://*.example.org";
        check(below, "https://a.example.org", true);
        check(below, "https://a.b.example.org", true);
        check(below, "https://example.org", false);
        check(below, "https://.example.org", false);
        check(below, "https://evilexample.org", false);
        check(below, "https://evil/.example.org", false);
        check(below, "https://a.example.org:1", false);
        check(below, "http://a.example.org", false);
        check("https://*.example.org:1", "https://a.example.org:1", true);
    }

    #[test]
    fn refuses_what_no_browser_would_send() {
        for origin in [
            "example.org",
            "https://",
            "https://a/b",
            "https://A.org",
            "https://*",
            "://a",
        ] {
            let error = CorsError::Origin {
                origin: origin.to_owned(),
            };
            assert_eq!(Cors::new(&config(&[origin])), Err(error));
        }
        let all = CorsConfig {
            credentials: true,
            ..config(&["*"])
        };
        assert_eq!(Cors::new(&all), Err(CorsError::CredentialsForAll));
        let named = CorsConfig {
            headers: vec!["a b".to_owned()],
            ..config(&["*"])
        };
        let name = "a b".to_owned();
        assert_eq!(Cors::new(&named), Err(CorsError::Header { name }));
        let method = CorsConfig {
            methods: vec!["P T".to_owned()],
            ..config(&["*"])
        };
        let error = CorsError::Method {
            method: "P T".to_owned(),
        };
        assert_eq!(Cors::new(&method), Err(error));
    }
}
