//! What the HTTP listener answers: routes a request, makes the call, and refuses by itself what is
//! not one.

use std::{future::Future, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use postern_core::{Blame, Error, Handler, Kind, Text};

use super::{
    CORRELATION_HEADER, Catalog, HttpConfig,
    accept::{ReplyForm, wants_problems},
    activity::InFlight,
    asker::Asker,
    compression,
    fields::set,
    head::{FIELDS_MAX, HeadError},
    host,
    origin::{ForeignPage, check_origin},
    path::{PathError, Resource},
    problem::ErrorForm,
    read_body::ReadBody,
    reply::{self, ReplyBody, ReplyTo},
    request::{self, CallTarget, Refusal, TakenBody},
    routes::{ListenerRoutes, asker::RouteAsker},
    silence,
    websockets::{WebSocketAsker, WebSockets},
};
use crate::Counters;

/// Calls services.
pub(super) struct Calls {
    pub(super) config: Arc<ArcSwap<HttpConfig>>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) routes: ListenerRoutes,
    pub(super) counters: Arc<Counters>,
    pub(super) websockets: WebSockets,
}

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
        let wants_problems = wants_problems(&head.headers);
        let coding = compression::asked(&head.headers, &config.compression);
        let (version, (body, unread)) = (head.version, ReadBody::new(body, &head));
        let claimed = asker.claimed(&head.headers, &config);
        let asker = claimed.as_ref().unwrap_or(asker);
        let dispatched = self.dispatch(head, body, &config, asker, in_flight).await;
        let mut response =
            dispatched.unwrap_or_else(|refusal| refusal.into_response(wants_problems));
        if let Some(asked) = coding {
            response = reply::compress(response, asked, &config.compression, &asker.bytes);
        }
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if version < Version::HTTP_2 && !is_upgraded && !unread.discard().await {
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
        let is_routed = !Resource::is_own(head.uri.path()) && !self.routes.is_empty();
        let is_foreign = self.is_foreign(&head, config, is_routed)?;
        let websocket = WebSocketAsker {
            peer: &asker.peer,
            bytes: &asker.bytes,
            upgrades: &asker.upgrades,
            in_flight,
        };
        if !is_foreign
            && let Some(answered) = self.websockets.answer(&mut head, config, &websocket)?
        {
            return Ok(answered);
        }
        if is_routed {
            let asker = RouteAsker {
                handler: &self.handler,
                config,
                peer: &asker.peer,
                bytes: &asker.bytes,
                gather: &asker.gather,
                is_alone: in_flight.is_alone(),
                connection: asker,
                in_flight,
            };
            return self.routes.answer(head, body, &asker).await;
        }
        let resource = Resource::from_path(head.uri.path()).map_err(path_refusal)?;
        match (resource, &head.method) {
            (Resource::Method { service, method }, &Method::POST) => {
                let target = CallTarget::new(service, method, TakenBody::Message);
                self.call(target, &head, body, config, asker, in_flight.is_alone())
                    .await
            }
            (Resource::Services, &Method::GET | &Method::HEAD) => {
                self.list(None, &head, body, config, asker).await
            }
            (Resource::Service(name), &Method::GET | &Method::HEAD) => {
                self.list(Some(name), &head, body, config, asker).await
            }
            (resource, &Method::OPTIONS) => Ok(reply::options(allowed(&resource))),
            (resource, method) => Err(Refusal::wrong_method(method, allowed(&resource))),
        }
    }

    /// Whether a page of another origin asks that may.
    ///
    /// # Errors
    /// Where it may not.
    fn is_foreign(
        &self,
        head: &http::request::Parts,
        config: &HttpConfig,
        is_routed: bool,
    ) -> Result<bool, Refusal> {
        let judged = check_origin(
            head.version,
            &head.uri,
            &head.headers,
            &config.hosts,
            config.cors.as_ref(),
        );
        match judged {
            Ok(()) => Ok(false),
            // Which pages may ask an upstream is the upstream's to say, as behind any proxy; links to
            // files are followed from everywhere.
            Err(page) if page.is_of_page() && is_routed && self.routes.is_open_to_pages(head) => {
                Ok(true)
            }
            Err(page) => Err(page.into()),
        }
    }

    /// Makes a call of a service, as `target` says.
    async fn call(
        &self,
        target: CallTarget,
        head: &http::request::Parts,
        body: ReadBody<Incoming>,
        config: &HttpConfig,
        asker: &Asker,
        is_alone: bool,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let Asker {
            peer,
            bytes,
            gather,
            ..
        } = asker;
        let reading = request::read_call(target, head, body, config, Arc::clone(peer), bytes);
        let (call, held) = reading.await?;
        let to = ReplyTo {
            form: ReplyForm::of(&head.headers),
            is_head: false,
        };
        let is_deadline_of_head = call.context.is_deadline_of_head;
        let mut reply = gather.call(&self.handler, call, is_alone).await;
        drop(held);
        if is_deadline_of_head {
            reply = reply.map(|reply| silence::bounded(reply, config.idle_timeout));
        }
        Ok(reply::success(reply?, to, bytes)?)
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
        let nothing = CallTarget::new(Text::default(), Text::default(), TakenBody::Message);
        let reading = request::read_call(nothing, head, body, config, Arc::clone(peer), bytes);
        let (asked, held) = reading.await?;
        let listed = self.catalog.services(name, asked).await;
        drop(held);
        Ok(json_response(listed?, &head.method))
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
    fn into_response(self, wants_problems: bool) -> Response<ReplyBody> {
        let form = match wants_problems || self.is_problem {
            true => ErrorForm::Problem,
            false => ErrorForm::Own,
        };
        let mut response = reply::refusal(self.status, &self.error, form);
        if let Some(allow) = self.allow {
            response.headers_mut().insert(header::ALLOW, *allow);
        }
        response
    }
}

fn allowed(resource: &Resource) -> HeaderValue {
    HeaderValue::from_static(match resource {
        Resource::Method { .. } => "POST, OPTIONS",
        Resource::Services | Resource::Service(_) => "GET, HEAD, OPTIONS",
    })
}

fn path_refusal(error: PathError) -> Refusal {
    let message = error.to_string();
    match error {
        PathError::Unknown { .. } => Refusal::new(StatusCode::NOT_FOUND, Error::not_found(message)),
        PathError::Encoding { .. } => {
            Refusal::new(StatusCode::BAD_REQUEST, Error::invalid_argument(message))
        }
    }
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
