//! What the HTTP listener answers: routes a request, makes the call, and refuses by itself what is
//! not one.

use std::{future::Future, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use postern_core::{Blame, Error, Handler, Kind, Peer, Text};

use super::{
    CORRELATION_HEADER, Catalog, HttpConfig,
    activity::InFlight,
    fields::set,
    gather::Gather,
    head::{FIELDS_MAX, HeadError},
    host, is_ndjson,
    origin::{ForeignPage, check_origin},
    path::{PathError, Resource},
    read_body::ReadBody,
    reply::{self, ReplyBody},
    request::{self, Refusal},
    upgrade::UpgradeSender,
};
use crate::{ConnectionBytes, Counters, server::Settings};

/// Who answers the requests of a server's connections.
pub(super) trait Answer: Send + Sync + 'static {
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + Unpin
        + 'static;

    fn answer(
        &self,
        request: Request<Incoming>,
        connection: &Asker,
        in_flight: &InFlight,
    ) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// The connection that asks.
#[derive(Clone)]
pub(super) struct Asker {
    pub(super) peer: Arc<Peer>,
    pub(super) bytes: ConnectionBytes,
    pub(super) gather: Gather,
    pub(super) upgrades: UpgradeSender,
}

/// Calls services.
pub(super) struct Calls {
    pub(super) config: Arc<ArcSwap<HttpConfig>>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) counters: Arc<Counters>,
    /// Of sessions over WebSocket.
    pub(super) sessions: Settings,
}

impl Answer for Calls {
    type Body = ReplyBody;

    async fn answer(
        &self,
        request: Request<Incoming>,
        asker: &Asker,
        in_flight: &InFlight,
    ) -> Response<ReplyBody> {
        self.counters.frames_in.add(1);
        let (head, body) = request.into_parts();
        let config = self.config.load_full();
        let cors = config.cors.as_ref();
        let is_sent_right = host::of(head.version, &head.uri, &head.headers).is_ok();
        let preflight = cors.filter(|_| is_sent_right);
        if let Some(response) = preflight.and_then(|cors| cors.preflight(&head)) {
            self.counters.frames_out.add(1);
            return response;
        }
        let correlation = request::correlation(&head.headers);
        let origin = cors.and_then(|_| head.headers.get(header::ORIGIN).cloned());
        let (version, (body, is_read)) = (head.version, ReadBody::new(body));
        let dispatched = self.dispatch(head, body, &config, asker, in_flight).await;
        let mut response = dispatched.unwrap_or_else(Refusal::into_response);
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if version < Version::HTTP_2 && !is_read.get() && !is_upgraded {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        if let Some(cors) = cors {
            cors.decorate(origin.as_ref(), response.headers_mut());
        }
        if let Some(correlation) = correlation {
            set(
                response.headers_mut(),
                CORRELATION_HEADER,
                correlation.as_bytes(),
            );
        }
        self.counters.frames_out.add(1);
        response
    }
}

impl Calls {
    async fn dispatch(
        &self,
        mut head: http::request::Parts,
        body: ReadBody<Incoming>,
        config: &HttpConfig,
        asker: &Asker,
        in_flight: &InFlight,
    ) -> Result<Response<ReplyBody>, Refusal> {
        // Those of HTTP/1 were counted before (head.rs).
        if head.headers.len() > FIELDS_MAX {
            let error = HeadError::TooManyFields;
            return Err(Refusal::new(error.status(), error.to_error()));
        }
        check_origin(
            head.version,
            &head.uri,
            &head.headers,
            &config.hosts,
            config.cors.as_ref(),
        )?;
        if let Some(answered) = self.upgrade(&mut head, config, asker, in_flight)? {
            return Ok(answered);
        }
        let resource = Resource::from_path(head.uri.path()).map_err(path_refusal)?;
        match (resource, &head.method) {
            (Resource::Method { service, method }, &Method::POST) => {
                let target = (service, method);
                let Asker {
                    peer,
                    bytes,
                    gather,
                    upgrades: _,
                } = asker;
                let reading =
                    request::read_call(target, &head, body, config, Arc::clone(peer), bytes);
                let (call, held) = reading.await?;
                let wants_lines = accepts_lines(&head.headers);
                let outcome = gather.call(&self.handler, call, in_flight.is_alone()).await;
                drop(held);
                Ok(match outcome {
                    Ok(reply) => reply::success(reply, wants_lines, bytes),
                    Err(error) => reply::failure(&error),
                })
            }
            (Resource::Services, &Method::GET | &Method::HEAD) => {
                self.list(None, &head, body, config, asker).await
            }
            (Resource::Service(name), &Method::GET | &Method::HEAD) => {
                self.list(Some(name), &head, body, config, asker).await
            }
            (resource, &Method::OPTIONS) => Ok(options_response(allowed(&resource))),
            (resource, method) => Err(wrong_method(method, allowed(&resource))),
        }
    }

    /// Tells of the services, or of the one called `name`, that the caller may know of.
    async fn list(
        &self,
        name: Option<Text>,
        head: &http::request::Parts,
        body: ReadBody<Incoming>,
        config: &HttpConfig,
        Asker { peer, bytes, .. }: &Asker,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let nothing = (Text::default(), Text::default());
        let reading = request::read_call(nothing, head, body, config, Arc::clone(peer), bytes);
        let (asked, held) = reading.await?;
        let listed = self.catalog.services(name, asked).await;
        drop(held);
        Ok(match listed {
            Ok(json) => json_response(json, &head.method),
            Err(error) => reply::failure(&error),
        })
    }
}

impl From<ForeignPage> for Refusal {
    fn from(page: ForeignPage) -> Self {
        let message = page.to_string();
        match page {
            ForeignPage::NoHost(_) => Self::invalid(StatusCode::BAD_REQUEST, message),
            ForeignPage::Host { .. } | ForeignPage::Origin { .. } | ForeignPage::Site { .. } => {
                let error = Error::new(Kind::PermissionDenied, Blame::Client, message);
                Self::new(StatusCode::FORBIDDEN, error)
            }
        }
    }
}

impl Refusal {
    fn into_response(self) -> Response<ReplyBody> {
        let mut response = reply::refusal(self.status, &self.error);
        if let Some(allow) = self.allow {
            let allow = HeaderValue::from_static(allow);
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

fn accepts_lines(headers: &http::HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT);
    let mut items = accepts
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|v| v.split(','));
    items.any(is_ndjson)
}

fn allowed(resource: &Resource) -> &'static str {
    match resource {
        Resource::Method { .. } => "POST, OPTIONS",
        Resource::Services | Resource::Service(_) => "GET, HEAD, OPTIONS",
    }
}

pub(super) fn path_refusal(error: PathError) -> Refusal {
    let message = error.to_string();
    match error {
        PathError::Unknown { .. } => Refusal::new(StatusCode::NOT_FOUND, Error::not_found(message)),
        PathError::Encoding { .. } => {
            Refusal::new(StatusCode::BAD_REQUEST, Error::invalid_argument(message))
        }
    }
}

fn wrong_method(method: &Method, allow: &'static str) -> Refusal {
    let message = format!("method {method} is not served here; {allow} are");
    let error = Error::new(Kind::Unimplemented, Blame::Client, message);
    Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        error,
        allow: Some(allow),
    }
}

fn options_response(allow: &'static str) -> Response<ReplyBody> {
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

fn json_response(json: Bytes, method: &Method) -> Response<ReplyBody> {
    let length = json.len();
    let body = if method == Method::HEAD {
        Bytes::new()
    } else {
        json
    };
    let mut response = Response::new(ReplyBody::whole(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(super::JSON));
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    response
}
