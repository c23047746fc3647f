//! A forwarded call as the request that goes to an upstream.
//!
//! | field | to HTTP/1.1 | to HTTP/2 |
//! | --- | --- | --- |
//! | those of the connection, and those that `connection` named | left out where the call was made (`inbound.rs`) | |
//! | `content-length` | that of the body, or the one that was declared of a stream, which it is held to | |
//! | `transfer-encoding` | hyper's: `chunked` where the length is not known | none |
//! | `host` | the authority of the call, first | `:authority` |
//! | `te: trailers` | with `connection: te` | as it is |
//! | `expect: 100-continue` | as it is; the body waits for the answer | left out |
//! | `upgrade` | with `connection: upgrade` | goes over HTTP/1.1 |

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use postern_core::{
    Blame, Body, BodyStream, Call, Error, Headers, HttpFacts, Kind, headers::HeadersBuilder,
};

use super::{
    config::ForwardAddress,
    request_body::{GoAhead, RequestBody, RequestProgress},
};
use crate::http::{fields, is_hop_by_hop};

/// All of a request but its body. What becomes of it depends on the connection that takes it.
pub(super) struct Head {
    method: Method,
    facts: Box<HttpFacts>,
    headers: Headers,
    /// What `content-length` says; nothing, or what hyper writes, otherwise.
    length: Option<u64>,
    go_ahead: Option<Arc<GoAhead>>,
    /// Who asks, for the PROXY protocol.
    pub(super) client: Option<SocketAddr>,
}

/// A call taken apart.
pub(super) struct Outbound {
    pub(super) head: Head,
    pub(super) body: RequestBody,
    pub(super) progress: Arc<RequestProgress>,
    /// What the client sends in the protocol that it asks for.
    pub(super) upgrade: Option<BodyStream>,
}

impl Head {
    /// Takes a call apart.
    ///
    /// # Errors
    /// `invalid-argument` where it cannot be a request.
    pub(super) fn of_call(call: Call, address: &ForwardAddress) -> Result<Outbound, Error> {
        let Some(mut facts) = call.http else {
            let message = format!("{address} takes requests of http, and the call is none");
            return Err(Error::internal(message));
        };
        let method = Method::from_bytes(facts.method.as_bytes());
        let method = method.map_err(|_| invalid("method", &facts.method))?;
        if method == Method::CONNECT {
            let message = "CONNECT is not forwarded";
            return Err(Error::new(Kind::Unimplemented, Blame::Client, message));
        }
        if facts.authority.is_empty() {
            facts.authority = address.authority().into();
        }
        let (mut declared, mut expects) = (None, false);
        for (name, value) in call.headers.iter() {
            if declared.is_none() && name.eq_ignore_ascii_case(b"content-length") {
                declared = Some(value);
            } else if name.eq_ignore_ascii_case(b"expect") {
                expects = call.body.is_stream();
            }
        }
        let length = match declared {
            Some(value) => length_of(&value, &call.body)?,
            None => None,
        };
        let go_ahead = expects.then(Arc::<GoAhead>::default);
        let (body, upgrade) = match facts.upgrade {
            Some(_) => (Body::Empty, Some(call.body.into_octets())),
            None => (call.body, None),
        };
        let (body, progress) = RequestBody::new(body, length, go_ahead.clone());
        let head = Self {
            method,
            facts,
            headers: call.headers,
            length,
            go_ahead,
            client: call.context.peer.origin.socket_addr(),
        };
        Ok(Outbound {
            head,
            body,
            progress,
            upgrade,
        })
    }

    /// A question whether an upstream is well.
    ///
    /// # Errors
    /// `invalid-argument` where `path` is none.
    pub(super) fn of_probe(path: &str, address: &ForwardAddress) -> Result<Self, Error> {
        let (path, query) = HttpFacts::split_target(&path.into());
        let mut headers = HeadersBuilder::fields(1, 64);
        // Cannot fail: it is short.
        let pushed = headers.push("user-agent", USER_AGENT);
        debug_assert!(pushed.is_ok());
        Ok(Self {
            method: Method::GET,
            facts: Box::new(HttpFacts {
                method: "GET".into(),
                authority: address.authority().into(),
                path,
                query,
                ..HttpFacts::default()
            }),
            headers: headers.build(),
            length: None,
            go_ahead: None,
            client: None,
        })
    }

    pub(super) const fn needs_http1(&self) -> bool {
        self.facts.upgrade.is_some()
    }

    /// # Errors
    /// `invalid-argument` for a target or a host that HTTP has not.
    pub(super) fn to_http1(&self, body: RequestBody) -> Result<Request<RequestBody>, Error> {
        let mut headers = self.room();
        let host = HeaderValue::from_bytes(self.facts.authority.as_bytes());
        headers.insert(
            header::HOST,
            host.map_err(|_| invalid("host", &self.facts.authority))?,
        );
        self.copy_headers(&mut headers);
        let mut options = Vec::new();
        if let Some(protocol) = &self.facts.upgrade {
            let protocol = HeaderValue::from_bytes(protocol.as_bytes());
            headers.insert(
                header::UPGRADE,
                protocol.map_err(|_| invalid("upgrade", ""))?,
            );
            options.push("upgrade");
        }
        if headers.contains_key(header::TE) {
            options.push("te");
        }
        if !options.is_empty()
            && let Ok(options) = HeaderValue::from_str(&options.join(", "))
        {
            headers.insert(header::CONNECTION, options);
        }
        let target = self.facts.target();
        let target = Bytes::from(target);
        let uri = Uri::from_maybe_shared(target.clone());
        let uri = uri.map_err(|_| invalid("target", &String::from_utf8_lossy(&target)))?;
        let mut request = self.assemble(uri, headers, body);
        if let Some(go_ahead) = &self.go_ahead {
            let go_ahead = Arc::clone(go_ahead);
            request
                .headers_mut()
                .insert(header::EXPECT, HeaderValue::from_static("100-continue"));
            hyper::ext::on_informational(&mut request, move |response| {
                if response.status() == StatusCode::CONTINUE {
                    go_ahead.give();
                }
            });
        }
        Ok(request)
    }

    /// # Errors
    /// As `to_http1`.
    pub(super) fn to_http2(
        &self,
        address: &ForwardAddress,
        body: RequestBody,
    ) -> Result<Request<RequestBody>, Error> {
        let mut headers = self.room();
        self.copy_headers(&mut headers);
        let target = match self.facts.target() {
            // OPTIONS of the whole server: RFC 9113 section 8.3.1.
            target if target.starts_with('/') || target == "*" => target,
            target => return Err(invalid("target", &target)),
        };
        let uri = Uri::builder()
            .scheme(address.scheme())
            .authority(self.facts.authority.as_str())
            .path_and_query(&target);
        let uri = uri
            .build()
            .map_err(|_| invalid("target", &format!("{}{target}", self.facts.authority)))?;
        // HTTP/2 tells nobody of a go-ahead.
        if let Some(go_ahead) = &self.go_ahead {
            go_ahead.give();
        }
        let mut request = self.assemble(uri, headers, body);
        *request.version_mut() = http::Version::HTTP_2;
        Ok(request)
    }

    fn assemble(&self, uri: Uri, headers: HeaderMap, body: RequestBody) -> Request<RequestBody> {
        let mut request = Request::new(body);
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        request
    }

    /// For all fields: `host`, `connection` and `upgrade` beside those of the call.
    fn room(&self) -> HeaderMap {
        HeaderMap::with_capacity(self.headers.entries().count() + 3)
    }

    fn copy_headers(&self, map: &mut HeaderMap) {
        let mut is_length_written = false;
        for (name, value) in self.headers.iter() {
            let name = HeaderName::from_bytes(name);
            let (Ok(name), Some(value)) = (name, fields::to_value(&self.headers, value)) else {
                continue;
            };
            if name == header::CONTENT_LENGTH {
                if let Some(length) = self.length
                    && !is_length_written
                {
                    is_length_written = true;
                    map.insert(header::CONTENT_LENGTH, length.into());
                }
            } else if name == header::TE || !is_hop_by_hop(name.as_str()) {
                map.append(name, value);
            }
        }
    }
}

/// What is to be said of the length of `body`, of which `value` is declared.
fn length_of(value: &[u8], body: &Body) -> Result<Option<u64>, Error> {
    let value = String::from_utf8_lossy(value);
    let first = value.split(',').next().unwrap_or_default().trim();
    let length = first
        .parse()
        .map_err(|_| invalid("content-length", &value))?;
    Ok(match body {
        Body::Messages(_) | Body::Octets(_) => Some(length),
        Body::One(octets) => Some(octets.len() as u64),
        Body::Empty => Some(0).filter(|none| *none == length),
    })
}

fn invalid(what: &str, value: &str) -> Error {
    let shown: String = value.escape_debug().take(SHOWN_CHARS_MAX).collect();
    Error::invalid_argument(format!("{what} {shown:?} cannot stand in a request"))
}

/// Characters of a value that an error shows.
const SHOWN_CHARS_MAX: usize = 100;
const USER_AGENT: &str = "postern-health";
