//! Requests that the configuration sends somewhere: which route takes one, and what comes of it.
//!
//! ```text
//! RouteTable::find ─▶ method:   parameters and body as one JSON object ─▶ handler ─▶ reply
//!                     or, where its schema has rules for HTTP, as those say (`transcoded.rs`)
//!                  ─▶ upstream: the request as it is ────────────────────▶ handler ─▶ reply
//!                  ─▶ redirect, fixed, files: service `routes` ──────────▶ handler ─▶ `RouteEnds`
//! ```
//! Every end is a call through the listener's handler, so that guards, limits and interceptors see each
//! request, whatever it comes to. The listener's own paths (`path.rs`) come first: no route takes them.

mod acceptable;
pub(super) mod asker;
mod conditional;
mod ends;
mod files;
mod folder;
mod form;
mod method;
mod params;
mod schema;
#[cfg(test)]
mod tests;
mod transcoded;
mod upstream;

use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{
    Call, Error, Reply, Text,
    route::{
        HttpRoute, MethodEnd, RequestPath, RequestPathError, RouteEnd, RouteMatch, RouteRequest,
        RouteTable,
    },
};

use self::asker::RouteAsker;
pub(super) use self::conditional::judge as judge_conditions;
pub use self::{
    ends::{RouteEnds, SERVICE},
    schema::{ParamShape, RequestSchema, RouteSchemas, SchemaFault},
};
use super::{
    content::TakenBody,
    fields::set,
    host,
    present::Present,
    problem::ErrorShape,
    reply::{self, ReplyBody, ReplyTo},
    request::{self, CallTarget, Refusal},
    silence,
};

/// The routes in force. Clones are of the same.
#[derive(Clone, Default)]
pub struct HttpRoutes(Arc<ArcSwap<RoutesInForce>>);

/// Where requests go, and what they are held to.
#[derive(Default)]
pub struct RoutesInForce {
    pub table: RouteTable,
    pub schemas: RouteSchemas,
}

/// The routes of one listener.
#[derive(Clone, Default)]
pub(super) struct ListenerRoutes {
    routes: HttpRoutes,
    listener: Text,
}

impl HttpRoutes {
    /// Requests that come from here on are sent where `table` says, as `schemas` say.
    pub fn set(&self, table: RouteTable, schemas: RouteSchemas) {
        self.0.store(Arc::new(RoutesInForce { table, schemas }));
    }

    #[must_use]
    pub fn load(&self) -> Arc<RoutesInForce> {
        self.0.load_full()
    }
}

impl ListenerRoutes {
    pub(super) fn new(routes: HttpRoutes, listener: &str) -> Self {
        Self {
            routes,
            listener: listener.into(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.routes.0.load().table.routes().is_empty()
    }

    /// Whether a route takes a request of this head, or sends it to its path with a slash.
    pub(super) fn takes(&self, head: &Parts) -> bool {
        let Ok(path) = RequestPath::parse(head.uri.path()) else {
            return false;
        };
        self.find(head, &path, |found, _| {
            matches!(found, RouteMatch::Route(_) | RouteMatch::WithSlash)
        })
    }

    /// Whether an upstream is sent a request of this head as it is.
    pub(super) fn forwards(&self, head: &Parts) -> bool {
        let Ok(path) = RequestPath::parse(head.uri.path()) else {
            return false;
        };
        self.find(head, &path, |found, _| match found {
            RouteMatch::Route(route) => matches!(route.end, RouteEnd::Upstream(_)),
            RouteMatch::WrongMethod { .. } | RouteMatch::WithSlash | RouteMatch::Nothing => false,
        })
    }

    /// The name of the listener.
    pub(super) const fn listener(&self) -> &Text {
        &self.listener
    }

    /// Whether a page of any origin may send a request to the route that takes it.
    pub(super) fn is_open_to_pages(&self, head: &Parts) -> bool {
        let Ok(path) = RequestPath::parse(head.uri.path()) else {
            return false;
        };
        self.find(head, &path, |found, _| match found {
            RouteMatch::Route(route) => match &route.end {
                RouteEnd::Upstream(_) => true,
                // Links to them are followed, and what they show is embedded. A page that wants to
                // read them says its origin.
                RouteEnd::Redirect(_) | RouteEnd::Fixed(_) | RouteEnd::Files(_) => {
                    head.method.is_safe() && !head.headers.contains_key(header::ORIGIN)
                }
                RouteEnd::Method(_) => false,
            },
            RouteMatch::WrongMethod { .. } | RouteMatch::WithSlash | RouteMatch::Nothing => false,
        })
    }

    /// What `take` makes of the match of a request, beside the schemas that are in force with it.
    fn find<T>(
        &self,
        head: &Parts,
        path: &RequestPath<'_>,
        take: impl FnOnce(RouteMatch<'_>, &RouteSchemas) -> T,
    ) -> T {
        // Whatever is no host was refused before (origin.rs).
        let authority = host::of(head.version, &head.uri, &head.headers).unwrap_or_default();
        let request = RouteRequest {
            listener: &self.listener,
            authority,
            method: head.method.as_str(),
            path,
            query: head.uri.query(),
            has_header: &|name, value| has_header(&head.headers, name, value),
        };
        let in_force = self.routes.0.load();
        take(in_force.table.find(&request), &in_force.schemas)
    }

    /// Answers a request by the route that takes it.
    ///
    /// # Errors
    /// What no route takes, what its route refuses, and what fails.
    pub(super) async fn answer<B>(
        &self,
        head: Parts,
        body: B,
        asker: &RouteAsker<'_>,
    ) -> Result<Response<ReplyBody>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (route, schema) = {
            let path = RequestPath::parse(head.uri.path())?;
            let found = self.find(&head, &path, |found, schemas| match found {
                RouteMatch::Route(route) => {
                    let schema = schemas.get(&route.name).cloned();
                    Ok((Arc::clone(route), schema))
                }
                RouteMatch::WrongMethod { allow } => {
                    Err(Box::new(wrong_method(&head.method, &allow)))
                }
                RouteMatch::WithSlash => Err(Box::new(Ok(to_slash(&head)))),
                RouteMatch::Nothing => Err(Box::new(Err(nothing_at(head.uri.path())))),
            });
            match found {
                Ok(found) => found,
                Err(answered) => return *answered,
            }
        };
        let answered = match &route.end {
            RouteEnd::Method(MethodEnd {
                transcoder: Some(transcoder),
                ..
            }) => transcoded::answer(&route, transcoder, head, body, asker).await,
            RouteEnd::Method(end) => {
                let to = method::MethodRoute {
                    route: &route,
                    end,
                    schema,
                };
                to.answer(head, body, asker).await
            }
            RouteEnd::Upstream(end) => upstream::answer(&route, end, head, body, asker).await,
            RouteEnd::Redirect(_) | RouteEnd::Fixed(_) | RouteEnd::Files(_) => {
                answer_own(&route, head, body, asker).await
            }
        };
        answered.map_err(|refusal| Refusal {
            shape: error_shape(&route),
            ..refusal
        })
    }
}

/// How the errors of a route are written.
fn error_shape(route: &HttpRoute) -> ErrorShape {
    let transcoder = match &route.end {
        RouteEnd::Method(end) => end.transcoder.as_ref(),
        RouteEnd::Upstream(_) | RouteEnd::Redirect(_) | RouteEnd::Fixed(_) | RouteEnd::Files(_) => {
            None
        }
    };
    match (route.has_problems, transcoder) {
        (true, _) => ErrorShape::Problem,
        (false, Some(_)) => ErrorShape::Status,
        (false, None) => ErrorShape::Usual,
    }
}

/// The answer to a method that no route of a path takes.
fn wrong_method(method: &Method, allow: &[Text]) -> Result<Response<ReplyBody>, Refusal> {
    let allow = listed(allow);
    match *method {
        Method::OPTIONS => Ok(reply::options(allow)),
        _ => Err(Refusal::wrong_method(method, allow)),
    }
}

/// Has the gateway's own service answer.
async fn answer_own<B>(
    route: &HttpRoute,
    head: Parts,
    body: B,
    asker: &RouteAsker<'_>,
) -> Result<Response<ReplyBody>, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let service = Text::from_static(SERVICE);
    let target = target(route, service, route.name.clone(), TakenBody::Any);
    let (peer, bytes) = (Arc::clone(asker.peer), asker.bytes);
    let present = Present::of(&head.headers);
    let reading = request::read_call(target, &head, present, body, asker.config, peer, bytes);
    let (call, held) = reading.await?;
    let to = ReplyTo {
        is_head: head.method == Method::HEAD,
        ..ReplyTo::default()
    };
    let reply = with_route(called(call, held, asker).await?, route);
    Ok(reply::success(reply, to, bytes)?)
}

/// What comes of a call, whose request counts as held until then.
async fn called(call: Call, held: impl Send, asker: &RouteAsker<'_>) -> Result<Reply, Error> {
    let is_deadline_of_head = call.context.is_deadline_of_head;
    let outcome = asker.gather.call(asker.handler, call, asker.is_alone).await;
    drop(held);
    outcome.map(|reply| match is_deadline_of_head {
        true => silence::bounded(reply, asker.config.idle_timeout),
        false => reply,
    })
}

/// A call of `service`/`method` by `route`.
fn target(route: &HttpRoute, service: Text, method: Text, takes: TakenBody) -> CallTarget {
    CallTarget {
        timeout: route.timeout_ms.map(std::time::Duration::from_millis),
        ..CallTarget::new(service, method, takes)
    }
}

/// Adds to a reply what its route says and it does not.
fn with_route(reply: Reply, route: &HttpRoute) -> Reply {
    let mut headers = reply.headers;
    let is_there = |name: &[u8]| {
        headers
            .iter()
            .any(|(known, _)| known.eq_ignore_ascii_case(name))
    };
    let missing = route.headers.iter().filter(|(name, _)| !is_there(name));
    let missing: Vec<_> = missing
        .map(|(name, value)| (name.to_vec(), value.into_owned()))
        .collect();
    for (name, value) in missing {
        // Those of a section that has no room for more stay as they are.
        let _ = headers.push(name, value);
    }
    Reply {
        headers,
        status: reply.status.or(route.status),
        ..reply
    }
}

impl From<RequestPathError> for Refusal {
    fn from(error: RequestPathError) -> Self {
        let status = match &error {
            RequestPathError::NotAbsolute => {
                return Self::new(StatusCode::NOT_FOUND, Error::not_found(error.to_string()));
            }
            RequestPathError::TooManySegments { .. } => StatusCode::URI_TOO_LONG,
            RequestPathError::Encoding { .. }
            | RequestPathError::Control { .. }
            | RequestPathError::Dots { .. } => StatusCode::BAD_REQUEST,
        };
        Self::invalid(status, error.to_string())
    }
}

/// What has no route, at a length fit for a message.
fn nothing_at(path: &str) -> Refusal {
    let shown: String = path.chars().take(SHOWN_CHARS_MAX).collect();
    let message = format!("no route takes {shown}");
    Refusal::new(StatusCode::NOT_FOUND, Error::not_found(message))
}

/// The same path with a slash at its end.
fn to_slash(head: &Parts) -> Response<ReplyBody> {
    // A path that was taken apart begins with one slash: an empty first segment has no route with one
    // more at its end but of a rest, and then it has one already.
    let path = head.uri.path().trim_start_matches('/');
    let location = match head.uri.query() {
        Some(query) => format!("/{path}/?{query}"),
        None => format!("/{path}/"),
    };
    let mut response = Response::new(ReplyBody::whole(Bytes::new()));
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    set(response.headers_mut(), "location", location.as_bytes());
    response
}

fn has_header(headers: &HeaderMap, name: &str, value: Option<&str>) -> bool {
    let mut values = headers.get_all(name).iter();
    match value {
        Some(wanted) => values.any(|value| value.as_bytes() == wanted.as_bytes()),
        None => values.next().is_some(),
    }
}

fn listed(methods: &[Text]) -> HeaderValue {
    let names: Vec<_> = methods.iter().map(Text::as_str).collect();
    // Methods are tokens, which the configuration has checked.
    HeaderValue::from_str(&names.join(", ")).unwrap_or_else(|_| HeaderValue::from_static("OPTIONS"))
}

const SHOWN_CHARS_MAX: usize = 100;
