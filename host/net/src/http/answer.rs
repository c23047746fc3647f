//! What the HTTP listener answers: routes a request, makes the call, and refuses by itself what is
//! not one.

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use http_body::Body;
use hyper::body::Incoming;
use postern_core::{Blame, Call, Error, Handler, Kind, Text};

use super::{
    CORRELATION_HEADER, Catalog, HttpConfig,
    accept::{ReplyForm, wants_problems},
    activity::InFlight,
    asker::{Answer, Asker},
    compression,
    content::TakenBody,
    documents::{self, Document},
    fields::{authority, set},
    grpc::StatusDetails,
    head::{FIELDS_MAX, HeadError},
    host,
    origin::{ForeignPage, check_host, check_page},
    path::{PathError, Resource},
    present::Present,
    problem::{ErrorForm, ErrorShape},
    read_body::ReadBody,
    reply::{self, ReplyBody, ReplyTo},
    request::{self, CallBytes, CallTarget, Refusal, RefusalDetail},
    routes::{ListenerRoutes, asker::RouteAsker, judge_conditions},
    rpc::{Rpc, RpcTables},
    silence,
    websockets::{WebSocketAsker, WebSockets},
};
use crate::{
    Counters,
    tls::{ChallengeAnswers, token_of},
};

/// Calls services.
pub(super) struct Calls {
    pub(super) config: Arc<ArcSwap<HttpConfig>>,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) routes: ListenerRoutes,
    /// What failures of gRPC say beside their message.
    pub(super) details: Arc<dyn StatusDetails>,
    pub(super) counters: Arc<Counters>,
    pub(super) websockets: WebSockets,
    /// What authorities are answered that look whether a name leads here; none over TLS.
    pub(super) challenges: Option<Arc<dyn ChallengeAnswers>>,
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
        if let Some(token) = self.challenged(&request)
            && let Some(response) = self.answer_challenge(&token).await
        {
            return response;
        }
        let (head, body) = request.into_parts();
        let config = self.config.load_full();
        let present = Present::of(&head.headers);
        let (version, cors) = (head.version, config.cors.as_ref());
        let is_sent_right = || host::of(version, &head.uri, &head.headers).is_ok();
        let preflight = cors.filter(|_| is_sent_right());
        if let Some(response) = preflight.and_then(|cors| cors.preflight(&head)) {
            self.counters.frames_out.add(1);
            return response;
        }
        let wanted = Wanted::of(&head.headers, present, &config);
        let (body, unread) = ReadBody::new(body, version, present);
        let claimed = asker.claimed(&head.headers, &config);
        let asker = claimed.as_ref().unwrap_or(asker);
        let route_asker = self.asker(&config, asker, in_flight);
        let (rpc, answered) = match Rpc::of(&head, &config, &*self.catalog, &self.routes) {
            Ok(rpc) => {
                let answering =
                    self.answer_as(rpc.as_ref(), head, present, body, &route_asker, wanted.form);
                let answered = answering.await;
                (rpc, answered)
            }
            // Whoever drops a body leaves what is unread of it.
            Err(refusal) => {
                drop(body);
                (None, Err(refusal))
            }
        };
        let mut response = answered.unwrap_or_else(|refusal| match &rpc {
            Some(rpc) => rpc.refuse(refusal, &*self.details),
            None => refusal.into_response(wanted.has_problems),
        });
        // Messages of calls are packed one by one.
        if let Some(asked) = wanted.coding.filter(|_| rpc.is_none()) {
            response = reply::compress(response, asked, &config.compression, &asker.bytes);
        }
        let is_upgraded = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        let may_go_on = version >= Version::HTTP_2 || is_upgraded || unread.is_read();
        if !may_go_on && !Box::pin(unread.discard()).await {
            set(response.headers_mut(), "connection", b"close");
        }
        wanted.decorate(response.headers_mut(), &config);
        if let Some(rpc) = &rpc {
            rpc.expose(response.headers_mut());
        }
        self.counters.frames_out.add(1);
        response
    }
}

impl Calls {
    /// Answers a request, which is a call of `rpc` where that is there.
    ///
    /// # Errors
    /// Why it is not taken, or what fails.
    async fn answer_as(
        &self,
        rpc: Option<&Rpc>,
        mut head: http::request::Parts,
        present: Present,
        body: ReadBody<Incoming>,
        asker: &RouteAsker<'_>,
        form: ReplyForm,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let (config, connection) = (asker.config, asker.connection);
        match self.disposition(&mut head, present, rpc, asker)? {
            Disposition::Answered(response) => Ok(*response),
            Disposition::Method { service, method } => {
                let target = CallTarget::new(service, method, TakenBody::Message);
                call(target, &head, present, body, asker, form).await
            }
            // What few requests take is boxed, so that others are not moved with room for it.
            Disposition::Route => Box::pin(self.routes.answer(head, body, asker)).await,
            Disposition::Document(document) => {
                Box::pin(self.document(document, &head, body, config, connection)).await
            }
            Disposition::List(name) => {
                Box::pin(self.list(name, &head, body, config, connection)).await
            }
            Disposition::Rpc(rpc) => {
                let tables = RpcTables {
                    catalog: &*self.catalog,
                    details: &self.details,
                };
                Box::pin(rpc.answer(&head, body, tables, asker)).await
            }
        }
    }
}

/// What a request's fields ask of its reply.
struct Wanted {
    form: ReplyForm,
    has_problems: bool,
    coding: Option<compression::Asked>,
    correlation: Option<Text>,
    origin: Option<HeaderValue>,
}

impl Wanted {
    fn of(headers: &HeaderMap, present: Present, config: &HttpConfig) -> Self {
        let accepts = present.contains(Present::ACCEPT);
        Self {
            form: match accepts {
                true => ReplyForm::of(headers),
                false => ReplyForm::Usual,
            },
            has_problems: accepts && wants_problems(headers),
            coding: compression::asked(headers, &config.compression),
            correlation: request::correlation(headers, present),
            origin: config
                .cors
                .as_ref()
                .and_then(|_| headers.get(header::ORIGIN).cloned()),
        }
    }

    /// Says in the reply with which page it is shared, and of which request it is.
    fn decorate(self, headers: &mut HeaderMap, config: &HttpConfig) {
        if let Some(cors) = &config.cors {
            cors.decorate(self.origin.as_ref(), headers);
        }
        if let Some(correlation) = self.correlation {
            set(headers, CORRELATION_HEADER, correlation.as_bytes());
        }
    }
}

/// What becomes of a request.
enum Disposition<'a> {
    /// It is a call by its own form.
    Rpc(&'a Rpc),
    /// A call of `POST /v1/services/{service}/{method}`.
    Method {
        service: Text,
        method: Text,
    },
    /// The services, or the one of this name, are told of.
    List(Option<Text>),
    /// A document about the listener.
    Document(Document),
    /// The routes say.
    Route,
    Answered(Box<Response<ReplyBody>>),
}

impl Calls {
    /// The token by which an authority may ask whether a name leads here.
    fn challenged<B: Body>(&self, request: &Request<B>) -> Option<String> {
        self.challenges.as_ref()?;
        let is_get = request.method() == Method::GET && request.body().is_end_stream();
        token_of(request.uri().path())
            .filter(|_| is_get)
            .map(str::to_owned)
    }

    /// The answer to an authority, which comes before everything else: it asks under the name, without
    /// credentials, and follows no rule of ours. None for a token that nobody waits for: a request as
    /// any other.
    async fn answer_challenge(&self, token: &str) -> Option<Response<ReplyBody>> {
        let answer = self.challenges.as_ref()?.http(token).await?;
        self.counters.frames_out.add(1);
        let length = HeaderValue::from(answer.len());
        let mut response = Response::new(ReplyBody::whole(answer));
        let headers = response.headers_mut();
        // RFC 8555 section 8.3.
        let octets = HeaderValue::from_static("application/octet-stream");
        headers.insert(header::CONTENT_TYPE, octets);
        headers.insert(header::CONTENT_LENGTH, length);
        Some(response)
    }

    /// Says by its head what becomes of a request.
    ///
    /// # Errors
    /// Why it is not taken.
    fn disposition<'a>(
        &self,
        head: &mut http::request::Parts,
        present: Present,
        rpc: Option<&'a Rpc>,
        asker: &RouteAsker<'_>,
    ) -> Result<Disposition<'a>, Refusal> {
        let config = asker.config;
        // Those of HTTP/1 were counted before (head.rs).
        if head.headers.len() > FIELDS_MAX {
            let error = HeadError::TooManyFields;
            return Err(Refusal::new(error.status(), error.to_error()));
        }
        if let Some(rpc) = rpc {
            self.is_foreign(head, present, config, false)?;
            return Ok(Disposition::Rpc(rpc));
        }
        // The listener's documents are there where no route is.
        let document = config.documents.at(head.uri.path());
        let document = document.filter(|_| !self.routes.takes(head));
        let is_own = document.is_some() || Resource::is_own(head.uri.path());
        let is_routed = !is_own && !self.routes.is_empty();
        let is_foreign = self.is_foreign(head, present, config, is_routed)?;
        let websocket = WebSocketAsker {
            peer: asker.peer,
            bytes: asker.bytes,
            upgrades: &asker.connection.upgrades,
            in_flight: asker.in_flight,
        };
        if !is_foreign && let Some(answered) = self.websockets.answer(head, config, &websocket)? {
            return Ok(Disposition::Answered(Box::new(answered)));
        }
        if let Some(document) = document {
            return Ok(Disposition::Document(document));
        }
        if let Some(error) = self.catalog.starting()
            && !is_own
            && !self.routes.takes(head)
        {
            return Err(error.into());
        }
        if is_routed {
            return Ok(Disposition::Route);
        }
        let resource = Resource::from_path(head.uri.path()).map_err(path_refusal)?;
        match (resource, &head.method) {
            (Resource::Method { service, method }, &Method::POST) => {
                Ok(Disposition::Method { service, method })
            }
            (Resource::Services, &Method::GET | &Method::HEAD) => Ok(Disposition::List(None)),
            (Resource::Service(name), &Method::GET | &Method::HEAD) => {
                Ok(Disposition::List(Some(name)))
            }
            (resource, &Method::OPTIONS) => {
                let options = reply::options(allowed(&resource));
                Ok(Disposition::Answered(Box::new(options)))
            }
            (resource, method) => Err(Refusal::wrong_method(method, allowed(&resource))),
        }
    }

    fn asker<'a>(
        &'a self,
        config: &'a HttpConfig,
        asker: &'a Asker,
        in_flight: &'a InFlight,
    ) -> RouteAsker<'a> {
        RouteAsker {
            handler: &self.handler,
            config,
            peer: &asker.peer,
            bytes: &asker.bytes,
            gather: &asker.gather,
            is_alone: in_flight.is_alone(),
            connection: asker,
            in_flight,
        }
    }

    /// Whether a page of another origin asks that may.
    ///
    /// # Errors
    /// Where it may not.
    fn is_foreign(
        &self,
        head: &http::request::Parts,
        present: Present,
        config: &HttpConfig,
        is_routed: bool,
    ) -> Result<bool, Refusal> {
        // Those of HTTP/1 were judged before (head.rs).
        let host = match head.version < Version::HTTP_2 {
            true => authority(&head.uri, &head.headers),
            false => host::of(head.version, &head.uri, &head.headers).map_err(ForeignPage::from)?,
        };
        check_host(host, &config.hosts)?;
        if !present.intersects(Present::OF_PAGE) {
            return Ok(false);
        }
        match check_page(host, &head.headers, config.cors.as_ref()) {
            Ok(()) => Ok(false),
            // Which pages may ask an upstream is the upstream's to say, as behind any proxy; links to
            // files are followed from everywhere.
            Err(page) if page.is_of_page() && is_routed && self.routes.is_open_to_pages(head) => {
                Ok(true)
            }
            Err(page) => Err(page.into()),
        }
    }

    /// Answers with a document about the listener.
    async fn document(
        &self,
        document: Document,
        head: &http::request::Parts,
        body: ReadBody<Incoming>,
        config: &HttpConfig,
        asker: &Asker,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let allowed = || HeaderValue::from_static("GET, HEAD, OPTIONS");
        let response = match (document, &head.method) {
            (Document::Docs, &Method::GET | &Method::HEAD) => documents::docs(&head.method),
            (Document::OpenApi, &Method::GET | &Method::HEAD) => {
                let (asked, held) = self.nothing(head, body, config, asker).await?;
                let listener = self.routes.listener().clone();
                let told = self.catalog.openapi(listener, asked).await;
                drop(held);
                documents::openapi(told?, &head.method)
            }
            (_, &Method::OPTIONS) => return Ok(reply::options(allowed())),
            (_, method) => return Err(Refusal::wrong_method(method, allowed())),
        };
        judge_conditions(&head.method, &head.headers, response)
    }

    /// A call of nothing in particular, of whoever asks for a document or the catalogue.
    async fn nothing(
        &self,
        head: &http::request::Parts,
        body: ReadBody<Incoming>,
        config: &HttpConfig,
        Asker { peer, bytes, .. }: &Asker,
    ) -> Result<(Call, CallBytes), Refusal> {
        let nothing = CallTarget::new(Text::default(), Text::default(), TakenBody::Message);
        let (present, peer) = (Present::of(&head.headers), Arc::clone(peer));
        request::read_call(nothing, head, present, body, config, peer, bytes).await
    }

    /// Tells of the services, or of the one called `name`, that the caller may know of.
    async fn list(
        &self,
        name: Option<Text>,
        head: &http::request::Parts,
        body: ReadBody<Incoming>,
        config: &HttpConfig,
        asker: &Asker,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let (asked, held) = self.nothing(head, body, config, asker).await?;
        let listed = self.catalog.services(name, asked).await;
        drop(held);
        Ok(json_response(listed?, &head.method))
    }
}

/// Makes a call of a service, as `target` says.
async fn call(
    target: CallTarget,
    head: &http::request::Parts,
    present: Present,
    body: ReadBody<Incoming>,
    asker: &RouteAsker<'_>,
    form: ReplyForm,
) -> Result<Response<ReplyBody>, Refusal> {
    let RouteAsker { config, bytes, .. } = *asker;
    let peer = Arc::clone(asker.peer);
    let reading = request::read_call(target, head, present, body, config, peer, bytes);
    let (call, held) = reading.await?;
    let to = ReplyTo {
        form,
        ..ReplyTo::default()
    };
    let is_deadline_of_head = call.context.is_deadline_of_head;
    let reply = asker.gather.call(asker.handler, call, asker.is_alone).await;
    drop(held);
    let mut reply = reply?;
    if is_deadline_of_head {
        reply = silence::bounded(reply, config.idle_timeout);
    }
    Ok(reply::success(reply, to, bytes)?)
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
        let form = ErrorForm {
            shape: match wants_problems {
                true => ErrorShape::Problem,
                false => self.shape,
            },
            errors: match self.detail.as_deref() {
                Some(RefusalDetail::Errors(errors)) => Some(errors),
                Some(RefusalDetail::Allow(_)) | None => None,
            },
        };
        let mut response = reply::refusal(self.status, &self.error, form);
        if let Some(RefusalDetail::Allow(allow)) = self.detail.map(|detail| *detail) {
            response.headers_mut().insert(header::ALLOW, allow);
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
