//! Imports of `wasi:http`: the types of requests and responses, for components that answer or send them, and
//! `outgoing-handler` (0.2) and `client` (0.3): requests of a plugin to servers that its manifest grants it. They
//! are sent by whoever the gateway has set, as forwarded calls.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::RwLock;
use postern_core::{
    Call, Context, Handler, HttpFacts, HttpStatus, Reply, Text, TraceContext, shadow::ShadowMark,
};
use postern_system::clock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::Linker;
use wasmtime_wasi_http::{
    DEFAULT_FORBIDDEN_HEADERS, Error, RequestOptions, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks,
    WasiHttpView, p2, p3,
};

use crate::{
    denial::Denial,
    handles::Handles,
    http_bodies::{GuestBody, OctetBody, from_guest, to_http_error},
    http_fields::{to_headers, to_map},
    http_grant::{usual_port, wanted},
    state::{Guest, StoreState},
};

/// Requests of one plugin that are under way, over all its instances. More than a page asks for, and few
/// enough that their sockets are no matter.
const IN_FLIGHT_MAX: usize = 64;
/// Longest body of a request and of a response, in octets: 1 GiB. Nothing of them is held.
const BODY_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Octets that a guest writes at a time to a body, and that wait for whoever reads it.
const CHUNK_BYTES: usize = 64 * 1024;

/// What waits for the answer of a server, which stores that cannot wait do not have.
pub(crate) const OUTGOING_HANDLER: &str = "wasi:http/outgoing-handler";
/// Octets of one set of header fields, as they lie in memory.
const FIELD_BYTES_MAX: usize = 64 * 1024;

/// The trace that a request is part of (W3C Trace Context).
const TRACEPARENT: &str = "traceparent";

/// Where requests of plugins go. Set by the gateway.
#[derive(Default)]
pub(crate) struct OutgoingImport {
    sender: RwLock<Option<Arc<dyn Handler>>>,
}

/// What of a plugin's requests is under way.
pub(crate) struct OutgoingPermits(Arc<Semaphore>);

/// What the imports of one store ask of the host.
pub(crate) struct OutgoingHooks {
    guest: Arc<Guest>,
    /// When the entry that is under way ends.
    end: Instant,
    /// That of the call that is answered.
    trace: Option<TraceContext>,
    /// There where that is a copy, which has no effect.
    shadow: Option<Arc<ShadowMark>>,
    is_in_call: bool,
}

/// What `wasi:http` keeps in a store beside the handles, from its first use on.
struct Web {
    context: WasiHttpCtx,
    hooks: OutgoingHooks,
}

pub(crate) fn link_async(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    p2::add_only_http_to_linker_async(linker)
}

/// For stores that cannot wait, where what would wait is replaced afterwards.
pub(crate) fn link_sync(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    p2::add_only_http_to_linker_sync(linker)
}

/// WASI 0.3, for components with asynchronous functions: what the host offers of 0.2 as well.
pub(crate) fn link_concurrent(linker: &mut Linker<StoreState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p3::add_to_linker(linker)?;
    p3::add_to_linker(linker)
}

impl WasiHttpView for StoreState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let end = self.end();
        let call = self.ambient.as_ref().map(|ambient| ambient.call.context());
        let trace = call.and_then(|context| context.trace);
        let shadow = call.and_then(|context| context.shadow.clone());
        let is_in_call = call.is_some();
        Handles::prepare(&mut self.kept);
        if self.kept.get::<Web>().is_none() {
            let mut context = WasiHttpCtx::new();
            context.set_field_size_limit(FIELD_BYTES_MAX);
            let hooks = OutgoingHooks::new(&self.guest);
            self.kept.put(Web { context, hooks });
        }
        let both = self.kept.pair_mut::<Web, Handles>();
        let (Web { context, hooks }, Handles(table)) = both.expect("they were put in place above");
        (hooks.end, hooks.trace, hooks.shadow) = (end, trace, shadow);
        hooks.is_in_call = is_in_call;
        WasiHttpCtxView {
            hooks,
            table,
            ctx: context,
        }
    }
}

impl OutgoingImport {
    pub(crate) fn set(&self, sender: Option<Arc<dyn Handler>>) {
        *self.sender.write() = sender;
    }
}

impl Default for OutgoingPermits {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(IN_FLIGHT_MAX)))
    }
}

/// The head of a response, and what of its exchange goes on in the background: nothing.
type Sent = (
    Response<GuestBody>,
    Box<dyn Future<Output = Result<(), Error>> + Send>,
);

impl OutgoingHooks {
    pub(super) fn new(guest: &Arc<Guest>) -> Self {
        Self {
            guest: Arc::clone(guest),
            end: clock::now(),
            trace: None,
            shadow: None,
            is_in_call: false,
        }
    }

    /// The fields of a request, in the trace that it is part of, without the host: that is the authority, as
    /// the upstream's version of HTTP writes it.
    fn traced(&self, mut headers: HeaderMap) -> HeaderMap {
        headers.remove(header::HOST);
        if let (Some(trace), false) = (self.trace, headers.contains_key(TRACEPARENT)) {
            // Cannot fail: it is hex digits and dashes.
            if let Ok(trace) = HeaderValue::from_str(&trace.to_string()) {
                headers.insert(TRACEPARENT, trace);
            }
        }
        headers
    }

    /// The call that a request is, where it goes, and the permit for it.
    fn prepare(
        &self,
        request: Request<GuestBody>,
    ) -> Result<(Arc<dyn Handler>, Call, OwnedSemaphorePermit), Error> {
        let (head, body) = request.into_parts();
        let scheme = head
            .uri
            .scheme_str()
            .unwrap_or("https")
            .to_ascii_lowercase();
        let host = head.uri.host().filter(|host| !host.is_empty());
        let host = host.ok_or(Error::HttpRequestUriInvalid)?;
        let port = head.uri.port_u16().or_else(|| usual_port(&scheme));
        let port = port.ok_or(Error::HttpRequestUriInvalid)?;
        self.permit(&scheme, host, port)?;
        if let Some(mark) = &self.shadow {
            mark.note_effect();
            return Err(Error::HttpRequestDenied);
        }
        if !self.guest.may_open(self.is_in_call, "a request") {
            return Err(Error::HttpRequestDenied);
        }
        let shared = &self.guest.shared;
        let sender = shared.get::<Arc<OutgoingImport>>();
        let sender = sender.and_then(|import| import.sender.read().clone());
        let sender = sender.ok_or_else(|| {
            let message = "the gateway sends no requests of plugins yet";
            Error::InternalError(Some(message.to_owned()))
        })?;
        let in_flight = shared.get::<OutgoingPermits>();
        let permit = in_flight.and_then(|all| Arc::clone(&all.0).try_acquire_owned().ok());
        let permit = permit.ok_or(Error::ConnectionLimitReached)?;
        let headers = self.traced(head.headers);
        let authority = head.uri.authority().map_or("", |authority| {
            // Whoever it names as user is not told.
            let shown = authority.as_str();
            shown.rsplit_once('@').map_or(shown, |(_, host)| host)
        });
        let path = match head.uri.path() {
            "" => "/",
            path => path,
        };
        let call = Call {
            service: Text::from(wanted(&scheme, host, port)),
            method: Text::from(head.method.as_str()),
            version: None,
            headers: to_headers(&headers),
            body: from_guest(body, BODY_BYTES_MAX),
            context: Context {
                deadline: Some(self.end),
                is_deadline_of_head: true,
                trace: self.trace,
                ..Context::default()
            },
            http: Some(Box::new(HttpFacts {
                method: Text::from(head.method.as_str()),
                scheme: Text::from(scheme),
                authority: Text::from(authority),
                path: Text::from(path),
                query: head.uri.query().map(Text::from),
                is_forwarded: true,
                upgrade: None,
            })),
        };
        Ok((sender, call, permit))
    }

    /// Whether the plugin may ask that server.
    fn permit(&self, scheme: &str, host: &str, port: u16) -> Result<(), Error> {
        let guest = &self.guest;
        if guest.spec.grants.allows_http(scheme, host, port) {
            return Ok(());
        }
        let wanted = wanted(scheme, host, port);
        // There is a code for it, and no text.
        drop(guest.deny(&Denial {
            grant: "http",
            what: "requests to",
            name: &wanted,
            value: &wanted,
        }));
        Err(Error::HttpRequestDenied)
    }
}

async fn send(
    prepared: Result<(Arc<dyn Handler>, Call, OwnedSemaphorePermit), Error>,
    options: Option<RequestOptions>,
) -> Result<Sent, Error> {
    let (sender, call, permit) = prepared?;
    let options = options.unwrap_or_default();
    let now = clock::now();
    // What a guest asks for bounds it further; whoever sends it bounds the time to connect.
    let asked = options.first_byte_timeout;
    let asked =
        asked.map(|first| first.saturating_add(options.connect_timeout.unwrap_or_default()));
    let asked = asked.and_then(|limit| now.checked_add(limit));
    let end = call.context.deadline.into_iter().chain(asked).min();
    let service = call.service.clone();
    let answering = sender.call(call);
    let answered = match end {
        Some(end) => tokio::time::timeout_at(end.into(), answering).await,
        None => Ok(answering.await),
    };
    let reply = answered.map_err(|_| Error::HttpResponseTimeout)?;
    let reply = reply.map_err(|error| {
        tracing::debug!(target: "plugin", server = %service, %error, "a request of a plugin failed");
        to_http_error(&error)
    })?;
    let response = response(reply, permit, options.between_bytes_timeout)?;
    let nothing = Box::new(std::future::ready(Ok(())));
    Ok((response, nothing))
}

fn response(
    reply: Reply,
    permit: OwnedSemaphorePermit,
    silence: Option<Duration>,
) -> Result<Response<GuestBody>, Error> {
    let status = reply.status.map_or(200, HttpStatus::number);
    let body = Lent {
        octets: OctetBody::new(reply.body, BODY_BYTES_MAX, silence),
        _permit: permit,
    };
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Error::HttpProtocolError)?;
    *response.headers_mut() = to_map(&reply.headers);
    Ok(response)
}

/// A body that counts as under way until it is dropped.
struct Lent {
    octets: OctetBody,
    _permit: OwnedSemaphorePermit,
}

impl HttpBody for Lent {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Error>>> {
        std::pin::Pin::new(&mut self.octets).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.octets.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.octets.size_hint()
    }
}

impl WasiHttpHooks for OutgoingHooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        DEFAULT_FORBIDDEN_HEADERS.contains(name)
    }

    fn send_request(
        &mut self,
        request: Request<GuestBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Result<Sent, Error>> + Send> {
        Box::new(send(self.prepare(request), options))
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }

    fn p3_outgoing_body_chunk_size(&mut self) -> usize {
        CHUNK_BYTES
    }
}
