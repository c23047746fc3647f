//! The listener of the HTTP door: accepts, routes, calls, drains.

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::conn::auto,
};
use postern_core::{Error, Handler, Kind, Peer, Text, Transport, error::Blame, event::Outbox};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, warn};

use super::{
    CORRELATION_HEADER, Catalog, HttpConfig,
    connection::{Activity, Expiry, Metered, Watch},
    is_ndjson,
    path::{PathError, Resource},
    reply::{self, ReplyBody},
    request::{self, Refusal, set},
};
use crate::{
    Counters, Shutdown,
    accept::{Advice, Backoff},
};

/// A bound HTTP listener.
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
    door: Arc<Door>,
}

/// What every connection shares.
struct Door {
    config: HttpConfig,
    handler: Arc<dyn Handler>,
    catalog: Arc<dyn Catalog>,
    counters: Arc<Counters>,
}

impl HttpServer {
    /// Binds `address`; port 0 takes a free one, which `local_addr` tells.
    ///
    /// # Errors
    /// Whatever the system says of the address.
    pub async fn bind(
        address: SocketAddr,
        config: HttpConfig,
        handler: Arc<dyn Handler>,
        catalog: Arc<dyn Catalog>,
        counters: Arc<Counters>,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        Ok(Self {
            listener,
            address,
            door: Arc::new(Door {
                config,
                handler,
                catalog,
                counters,
            }),
        })
    }

    /// Where the door is.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` drains; then takes nothing new and finishes what is in flight, for
    /// `drain_timeout` or until `shutdown` ends.
    pub async fn serve(self, shutdown: Shutdown) {
        let mut connections = JoinSet::new();
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(ended) = connections.join_next() => {
                    if let Err(error) = ended {
                        warn!(%error, "an http connection panicked");
                    }
                    continue;
                }
                () = shutdown.draining() => break,
            };
            match accepted {
                Ok((socket, peer)) => {
                    backoff.succeeded();
                    if connections.len() < self.door.config.connections_max {
                        connections.spawn(serve_connection(
                            Arc::clone(&self.door),
                            socket,
                            peer,
                            shutdown.clone(),
                        ));
                    } else {
                        self.door.counters.connections_refused.add(1);
                        turn_away(&socket, self.door.config.connections_max);
                    }
                }
                Err(error) => match backoff.failed(&error) {
                    Advice::Again => {}
                    Advice::Pause(pause) => {
                        warn!(%error, pause_ms = pause.as_millis(), "cannot accept over http");
                        sleep(pause).await;
                    }
                },
            }
        }
        drop(self.listener);
        let finishing = async { while connections.join_next().await.is_some() {} };
        tokio::select! {
            () = shutdown.ended() => {}
            _ = timeout(self.door.config.drain_timeout, finishing) => {}
        }
        connections.shutdown().await;
    }
}

/// Answers a connection over the limit at once and without reading from it.
fn turn_away(socket: &TcpStream, limit: usize) {
    let error = Error::unavailable(
        Blame::Gateway,
        format!("the limit of {limit} connections is reached"),
    );
    let body = error.to_json();
    let head = format!(
        "HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\n\
         x-postern-error: unavailable\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    // A fresh socket takes this much without blocking; a peer that is gone misses nothing.
    let _ = socket.try_write(&[head.as_bytes(), &body].concat());
}

async fn serve_connection(
    door: Arc<Door>,
    socket: TcpStream,
    address: SocketAddr,
    shutdown: Shutdown,
) {
    let counters = Arc::clone(&door.counters);
    let _open = Open::new(Arc::clone(&counters));
    // Replies are written whole; waiting for more would only delay them.
    if let Err(error) = socket.set_nodelay(true) {
        debug!(%error, %address, "cannot set nodelay");
    }
    let activity = Arc::new(Activity::default());
    let metered = Metered::new(socket, Arc::clone(&activity), Arc::clone(&counters));
    let peer = Arc::new(Peer {
        transport: Transport::Http,
        address: Some(address),
        session: Text::default(),
        outbox: Outbox::closed(),
    });
    drive(&door, metered, &activity, peer, &shutdown).await;
}

/// A connection that counts as open until it is dropped, however it ends.
struct Open(Arc<Counters>);

impl Open {
    fn new(counters: Arc<Counters>) -> Self {
        counters.connections_opened.add(1);
        Self(counters)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.connections_closed.add(1);
    }
}

/// Moves a connection until it ends, expires or has drained.
async fn drive(
    door: &Arc<Door>,
    socket: Metered,
    activity: &Arc<Activity>,
    peer: Arc<Peer>,
    shutdown: &Shutdown,
) {
    let service = service_fn(|request| {
        let (door, peer) = (Arc::clone(door), Arc::clone(&peer));
        let in_flight = activity.begin();
        async move {
            let response = door.answer(request, peer).await;
            Ok::<_, Infallible>(response.map(|body| body.holding(in_flight)))
        }
    });
    let builder = connection_builder(&door.config);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut watch = Watch::new(Instant::now());
    let mut wake = Instant::now();
    let mut is_draining = false;
    loop {
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    door.counters.protocol_errors.add(1);
                    debug!(error = %error, peer = ?peer.address, "http connection failed");
                }
                return;
            }
            () = shutdown.draining(), if !is_draining => {
                is_draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = sleep_until(wake) => {
                match watch.handle_timeout(Instant::now(), activity, &door.config) {
                    Err(later) => wake = later,
                    Ok(expiry) => {
                        debug!(?expiry, peer = ?peer.address, "http connection expired");
                        if expiry == Expiry::SlowReader {
                            door.counters.slow_readers.add(1);
                        } else {
                            connection.as_mut().graceful_shutdown();
                            let _ = timeout(GOODBYE, connection).await;
                        }
                        return;
                    }
                }
            }
        }
    }
}

fn connection_builder(config: &HttpConfig) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // `Watch` does it for both versions, without a timer per request.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(config.streams_max)
        .max_header_list_size(u32::try_from(HEAD_BYTES_MAX).unwrap_or(u32::MAX))
        .keep_alive_interval(config.idle_timeout)
        .keep_alive_timeout(config.header_timeout);
    builder
}

impl Door {
    async fn answer(&self, request: Request<Incoming>, peer: Arc<Peer>) -> Response<ReplyBody> {
        self.counters.frames_in.add(1);
        let (head, body) = request.into_parts();
        let cors = self.config.cors.as_ref();
        if let Some(response) = cors.and_then(|cors| cors.preflight(&head)) {
            self.counters.frames_out.add(1);
            return response;
        }
        let correlation = request::correlation(&head.headers);
        let origin = cors.and_then(|_| head.headers.get(header::ORIGIN).cloned());
        let dispatched = self.dispatch(head, body, peer).await;
        let mut response = dispatched.unwrap_or_else(Refusal::into_response);
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

    async fn dispatch(
        &self,
        head: http::request::Parts,
        body: Incoming,
        peer: Arc<Peer>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let resource = Resource::from_path(head.uri.path()).map_err(path_refusal)?;
        match (resource, &head.method) {
            (Resource::Method { service, method }, &Method::POST) => {
                let target = (service, method);
                let call = request::read_call(target, &head, body, &self.config, peer).await?;
                let wants_lines = accepts_lines(&head.headers);
                Ok(match self.handler.call(call).await {
                    Ok(reply) => reply::success(reply, wants_lines),
                    Err(error) => reply::failure(&error),
                })
            }
            (Resource::Services, &Method::GET | &Method::HEAD) => {
                self.list(None, &head, body, peer).await
            }
            (Resource::Service(name), &Method::GET | &Method::HEAD) => {
                self.list(Some(name), &head, body, peer).await
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
        body: Incoming,
        peer: Arc<Peer>,
    ) -> Result<Response<ReplyBody>, Refusal> {
        let nothing = (Text::default(), Text::default());
        let asked = request::read_call(nothing, head, body, &self.config, peer).await?;
        Ok(match self.catalog.services(name, asked).await {
            Ok(json) => json_response(json, &head.method),
            Err(error) => reply::failure(&error),
        })
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

fn path_refusal(error: PathError) -> Refusal {
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

/// Longest request head, in octets: a whole VSTP header section (65,535) and its request line fit.
const HEAD_BYTES_MAX: usize = 96 * 1024;
/// How long an idle connection may take to close once it was told to.
const GOODBYE: Duration = Duration::from_secs(1);
