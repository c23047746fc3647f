//! From a request of Connect to its response: which of the two kinds of calls it is, and whether its method is
//! of that kind.

use std::sync::Arc;

use bytes::Bytes;
use http::{Response, Version, request::Parts};
use http_body::Body as HttpBody;
use postern_core::service::{CallKind, MethodInfo};

use super::{
    call::CallMaker,
    codec::Codec,
    detect::{ConnectRequest, RequestForm},
    failure,
    query::CallQuery,
    streaming, unary,
};
use crate::http::{
    Catalog, grpc::StatusDetails, reply::ReplyBody, request::Refusal, routes::asker::RouteAsker,
};

/// Answers calls of one request.
pub(in crate::http) struct ConnectFront<'a> {
    pub(in crate::http) request: &'a ConnectRequest,
    pub(in crate::http) catalog: &'a dyn Catalog,
    pub(in crate::http) details: &'a Arc<dyn StatusDetails>,
    pub(in crate::http) asker: &'a RouteAsker<'a>,
}

impl ConnectFront<'_> {
    /// Makes the call of a request, and the response of what comes of it.
    ///
    /// # Errors
    /// What is wrong with the request, and what the call fails with; for `refuse`.
    pub(in crate::http) async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
    ) -> Result<Response<ReplyBody>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let ConnectRequest {
            service, method, ..
        } = self.request;
        let info = self.catalog.method_info(service, method);
        let kind = info.as_ref().and_then(|info| info.kind);
        let maker = |codec| CallMaker {
            request: self.request,
            head,
            codec,
            info: info.as_ref(),
            asker: self.asker,
        };
        match &self.request.form {
            RequestForm::Strange(content_type) => Err(failure::strange_type(content_type)),
            RequestForm::Get(query) => {
                let codec = self.codec_of(query, info.as_ref())?;
                unary::get(&maker(codec), query).await
            }
            RequestForm::Unary(codec) => {
                self.check_unary(kind, codec.unary_type())?;
                unary::post(&maker(*codec), body).await
            }
            RequestForm::Stream(codec) => {
                self.check_stream(kind, *codec, head.version)?;
                streaming::answer(&maker(*codec), kind, body, self.details).await
            }
        }
    }

    /// The codec of a call by `GET`, whose method must be one that changes nothing more when it is called again:
    /// caches and browsers do.
    fn codec_of(&self, query: &CallQuery, info: Option<&MethodInfo>) -> Result<Codec, Refusal> {
        let name = query.encoding.as_deref().unwrap_or_default();
        let codec = Codec::from_name(name).ok_or_else(|| failure::strange_codec(name))?;
        let kind = info.and_then(|info| info.kind);
        self.check_unary(kind, codec.unary_type())?;
        if info.is_some_and(|info| info.safe) {
            return Ok(codec);
        }
        // Of a service that is not there nothing is known; it may say more once it is.
        let why = match kind {
            None => self.catalog.why_unavailable(&self.request.service),
            Some(_) => None,
        };
        Err(why.map_or_else(|| failure::not_safe(&self.request.method), Refusal::from))
    }

    fn check_unary(&self, kind: Option<CallKind>, content_type: &str) -> Result<(), Refusal> {
        match kind {
            Some(CallKind::Unary) | None => Ok(()),
            Some(
                kind @ (CallKind::ClientStream | CallKind::ServerStream | CallKind::Bidirectional),
            ) => Err(self.wrong_kind(kind, content_type)),
        }
    }

    fn check_stream(
        &self,
        kind: Option<CallKind>,
        codec: Codec,
        version: Version,
    ) -> Result<(), Refusal> {
        match kind {
            Some(CallKind::Unary) => Err(self.wrong_kind(CallKind::Unary, codec.stream_type())),
            Some(CallKind::Bidirectional) if version < Version::HTTP_2 => {
                Err(failure::half_duplex(&self.request.method))
            }
            Some(CallKind::ClientStream | CallKind::ServerStream | CallKind::Bidirectional)
            | None => Ok(()),
        }
    }

    fn wrong_kind(&self, kind: CallKind, content_type: &str) -> Refusal {
        failure::wrong_kind(&self.request.method, kind.name(), content_type)
    }
}
