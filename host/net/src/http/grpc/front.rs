//! From a request of gRPC to its response.

use bytes::Bytes;
use http::{Response, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{Blame, Error, Kind};

use super::{
    call::{ACCEPT_ENCODING, CallReader, RpcPath, coding_of},
    coding::AcceptedCodings,
    content_type::{Framing, GrpcContent},
    outcome::judged,
    reply::GrpcReply,
    web::WebText,
};
use crate::http::{reply::ReplyBody, routes::asker::RouteAsker, rpc::RpcTables};

/// Answers calls of one request.
pub(in crate::http) struct GrpcFront<'a> {
    pub(in crate::http) content: &'a GrpcContent,
    pub(in crate::http) tables: RpcTables<'a>,
    pub(in crate::http) asker: &'a RouteAsker<'a>,
}

impl GrpcFront<'_> {
    /// Makes the call of a request, and the response of what comes of it. A request that may do without
    /// `te: trailers` is one that does: nothing here depends on it, and some clients leave it out.
    ///
    /// # Errors
    /// What is wrong with the request.
    pub(in crate::http) async fn answer<B>(
        &self,
        head: &Parts,
        body: B,
    ) -> Result<Response<ReplyBody>, Error>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self {
            content,
            tables,
            asker,
        } = *self;
        let unimplemented = |told: String| Error::new(Kind::Unimplemented, Blame::Client, told);
        let path = RpcPath::parse(head.uri.path());
        let path = path.map_err(|error| unimplemented(error.to_string()))?;
        let info = tables.catalog.method_info(&path.service, &path.method);
        let coding = coding_of(&head.headers)?;
        let reader = CallReader {
            config: asker.config,
            peer: asker.connection.over_grpc(),
            bytes: asker.bytes,
            kind: info.as_ref().and_then(|info| info.kind),
        };
        let (call, held) = match content.request {
            Framing::Http2 | Framing::Web => reader.read(path, content, coding, head, body).await?,
            Framing::WebText => {
                let body = WebText::new(body);
                Box::pin(reader.read(path, content, coding, head, body)).await?
            }
        };
        let outcome = asker.gather.call(asker.handler, call, asker.is_alone).await;
        drop(held);
        let reply = GrpcReply {
            content,
            config: &asker.config.grpc,
            details: tables.details,
            bytes: asker.bytes,
            coding,
            accepted: AcceptedCodings::of(&head.headers, ACCEPT_ENCODING),
        };
        Ok(reply.respond(judged(outcome, info.as_ref()).await))
    }
}
