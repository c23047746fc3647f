//! Requests that are calls by their own form, whatever their path is: gRPC, gRPC-Web and Connect. They come
//! before the routes of the listener.
//!
//! | request | becomes |
//! | --- | --- |
//! | content type of gRPC over HTTP/2, of gRPC-Web over any | a call |
//! | the same, its service unknown, and a route forwards its path | what that route says |
//! | content type of gRPC over HTTP/1 | 505 |
//! | content type that only begins as those, or of a form that no schema has | 415 |
//! | such a content type, and another method than `POST` | 405 |
//! | what says that it is Connect (`connect_rpc/detect.rs`) | a call; forwarded as those of gRPC are |
//! | what may be Connect, no route takes it, and its service describes the method or is not there yet | a call |
//! | `POST` of anything else, no route takes it, and its service describes the method | 415 |
//! | anything else, where the listener serves calls alone | 415, or 405 |

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Version, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{Blame, Error, Kind};

use super::{
    Catalog, HttpConfig,
    connect_rpc::{self, ConnectFront, ConnectRequest},
    grpc::{self, Framing, GrpcContent, GrpcFront, RpcPath, StatusDetails, UnknownContent},
    path::Resource,
    reply::ReplyBody,
    request::Refusal,
    routes::{ListenerRoutes, asker::RouteAsker},
};

/// What a request is a call of.
pub(super) enum Rpc {
    Grpc(GrpcContent),
    Connect(Box<ConnectRequest>),
}

/// What is known of services, and of what failures say.
#[derive(Clone, Copy)]
pub(super) struct RpcTables<'a> {
    pub(super) catalog: &'a dyn Catalog,
    pub(super) details: &'a Arc<dyn StatusDetails>,
}

impl Rpc {
    /// What a request of `head` is by its form; `None` for one that is no call by itself.
    ///
    /// # Errors
    /// One that would be a call and cannot be made one.
    pub(super) fn of(
        head: &Parts,
        config: &HttpConfig,
        catalog: &dyn Catalog,
        routes: &ListenerRoutes,
    ) -> Result<Option<Self>, Refusal> {
        let content = GrpcContent::of(&head.headers);
        let is_of_grpc = !matches!(content, Ok(None));
        if is_of_grpc && is_forwarded(head, catalog, routes) {
            return Ok(None);
        }
        let content = content.map_err(|unknown| unsupported(&unknown))?;
        match content {
            None => match connect_request(head, catalog, routes) {
                Some(request) => Ok(Some(Self::Connect(Box::new(request)))),
                None if config.is_grpc_only => Err(no_call(head)),
                None if is_of_method(head, catalog) && !routes.takes(head) => Err(no_call(head)),
                None => Ok(None),
            },
            Some(_) if head.method != Method::POST => Err(wrong_method(head)),
            // Without a schema, octets of any form are the handler's business.
            Some(content) if content.is_foreign_form() && is_of_method(head, catalog) => {
                Err(unsupported(&content.into_unknown()))
            }
            Some(content) if content.request == Framing::Http2 && !is_http2(head) => {
                let told = "gRPC needs HTTP/2; application/grpc-web comes over HTTP/1.1, too";
                let error = Error::new(Kind::Unimplemented, Blame::Client, told);
                let status = StatusCode::HTTP_VERSION_NOT_SUPPORTED;
                Err(Refusal::new(status, error))
            }
            Some(content) => Ok(Some(Self::Grpc(content))),
        }
    }

    /// Answers a call.
    ///
    /// # Errors
    /// What is wrong with the request, for `refuse`.
    pub(super) async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
        tables: RpcTables<'_>,
        asker: &RouteAsker<'_>,
    ) -> Result<Response<ReplyBody>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        match self {
            Self::Grpc(content) => {
                let front = GrpcFront {
                    content,
                    tables,
                    asker,
                };
                Ok(front.answer(head, body).await?)
            }
            Self::Connect(request) => {
                let front = ConnectFront {
                    request,
                    catalog: tables.catalog,
                    details: tables.details,
                    asker,
                };
                front.answer(head, body).await
            }
        }
    }

    /// Tells a client, as its protocol does, why its request is not taken.
    pub(super) fn refuse(
        &self,
        refusal: Refusal,
        details: &dyn StatusDetails,
    ) -> Response<ReplyBody> {
        match self {
            Self::Grpc(content) => grpc::refuse(content, &refusal.error, details),
            Self::Connect(request) => connect_rpc::refuse(request, refusal, details),
        }
    }

    /// Lets a page read what the protocol says in fields of a reply.
    pub(super) fn expose(&self, headers: &mut HeaderMap) {
        match self {
            Self::Grpc(content) if content.is_web() => {
                grpc::expose(headers, &grpc::STATUS_FIELDS);
            }
            Self::Connect(_) => grpc::expose(headers, &[]),
            Self::Grpc(_) => {}
        }
    }
}

fn is_http2(head: &Parts) -> bool {
    head.version >= Version::HTTP_2
}

/// Whether a request is none for this gateway: nobody here has its service, and an upstream takes its
/// path.
fn is_forwarded(head: &Parts, catalog: &dyn Catalog, routes: &ListenerRoutes) -> bool {
    let is_known = || {
        let path = RpcPath::parse(head.uri.path());
        path.is_ok_and(|path| catalog.has_service(&path.service))
    };
    !routes.is_empty() && routes.forwards(head) && !is_known()
}

/// The request as one of Connect, where it is. Who does not say so is asked for what nobody else takes.
fn connect_request(
    head: &Parts,
    catalog: &dyn Catalog,
    routes: &ListenerRoutes,
) -> Option<ConnectRequest> {
    let request = ConnectRequest::of(head)?;
    let is_described = || {
        // Or nobody can say yet.
        let info = catalog.method_info(&request.service, &request.method);
        info.is_some_and(|info| info.kind.is_some())
            || catalog.why_unavailable(&request.service).is_some()
    };
    let is_call = match request.says_so {
        true => !is_forwarded(head, catalog, routes),
        false => is_described() && !routes.takes(head),
    };
    is_call.then_some(request)
}

/// Whether a request is a `POST` to a method that its service describes.
fn is_of_method(head: &Parts, catalog: &dyn Catalog) -> bool {
    let path = head.uri.path();
    if head.method != Method::POST || Resource::is_own(path) {
        return false;
    }
    let info = RpcPath::parse(path)
        .ok()
        .and_then(|path| catalog.method_info(&path.service, &path.method));
    info.is_some_and(|info| info.kind.is_some())
}

/// The answer to what is no call, where nothing else is served.
fn no_call(head: &Parts) -> Refusal {
    if head.method != Method::POST {
        return wrong_method(head);
    }
    let told = "gRPC, gRPC-Web and Connect are served here; send one of their content types";
    Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, told.to_owned())
}

fn unsupported(unknown: &UnknownContent) -> Refusal {
    Refusal::invalid(StatusCode::UNSUPPORTED_MEDIA_TYPE, unknown.to_string())
}

fn wrong_method(head: &Parts) -> Refusal {
    Refusal::wrong_method(&head.method, HeaderValue::from_static("POST"))
}
