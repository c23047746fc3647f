//! A route to a method of a service: what users of REST expect of status, body and fields.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{
    Blame, Body, BodyStream, Call, Error, Kind, Text,
    route::{BodyForm, HttpRoute, MethodEnd, RequestPath},
};

use super::{
    acceptable::check_accepted,
    asker::RouteAsker,
    called, conditional, form,
    params::Parameters,
    schema::{self, CheckedMessages, ParamTypes, RequestSchema},
    target, with_route,
};
use crate::{
    ConnectionBytes, HeldBytes,
    http::{
        JSON,
        accept::Accepted,
        content::{TakenBody, is_form},
        present::Present,
        reply::{self, ReplyBody, ReplyTo},
        request::{self, CallBytes, Refusal},
    },
};

/// A route to a method, and what the method takes where that is known.
pub(super) struct MethodRoute<'a> {
    pub(super) route: &'a HttpRoute,
    pub(super) end: &'a MethodEnd,
    pub(super) schema: Option<Arc<dyn RequestSchema>>,
}

impl MethodRoute<'_> {
    /// Calls the method.
    ///
    /// # Errors
    /// 406, 413, 415, 422 and whatever the method fails with.
    pub(super) async fn answer<B>(
        self,
        head: Parts,
        body: B,
        asker: &RouteAsker<'_>,
    ) -> Result<Response<ReplyBody>, Refusal>
    where
        B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let Self { route, end, .. } = self;
        let accepted = Accepted::of(&head.headers);
        let produced = end.produces.iter().map(Text::as_str);
        match end.produces.is_empty() {
            true => check_accepted(&accepted, [JSON])?,
            false => check_accepted(&accepted, produced)?,
        }
        let required = schema::required(route, end, self.schema.clone())?;
        // Before the body is read: what is refused for its path takes nothing of it.
        let parameters = self.parameters(&head)?;
        let takes = match end.body {
            BodyForm::Json => TakenBody::Json,
            BodyForm::Form => TakenBody::Form,
            BodyForm::Raw => TakenBody::Any,
        };
        let mut target = target(route, end.service.clone(), end.method.clone(), takes);
        target.version.clone_from(&end.version);
        let (peer, bytes) = (Arc::clone(asker.peer), asker.bytes);
        let present = Present::of(&head.headers);
        let reading = request::read_call(target, &head, present, body, asker.config, peer, bytes);
        let (call, held) = reading.await?;
        let (call, held) = self.merged(call, held, parameters, &head.headers, bytes)?;
        let call = match required {
            Some(schema) => checked(call, schema, bytes).await?,
            None => call,
        };
        let reply = with_route(called(call, held, asker).await?, route);
        let to = ReplyTo {
            form: accepted.reply_form(),
            is_head: head.method == Method::HEAD,
            ..ReplyTo::default()
        };
        let response = reply::success(reply, to, bytes)?;
        conditional::judge(&head.method, &head.headers, response)
    }

    fn types(&self) -> ParamTypes<'_> {
        ParamTypes {
            stated: &self.end.types,
            schema: self.schema.as_deref(),
        }
    }

    /// Those of path and query, unless the body goes on as it is.
    fn parameters(&self, head: &Parts) -> Result<Option<Parameters>, Refusal> {
        if self.end.body == BodyForm::Raw {
            return Ok(None);
        }
        let path = RequestPath::parse(head.uri.path())?;
        // The route has taken the path.
        let params = self.route.rule.path.params(&path).unwrap_or_default();
        let read = Parameters::read(params, head.uri.query(), self.types())?;
        Ok(Some(read))
    }

    /// The call with its parameters in its one message. A stream of messages stays as it is.
    fn merged(
        &self,
        call: Call,
        held: CallBytes,
        parameters: Option<Parameters>,
        headers: &HeaderMap,
        bytes: &ConnectionBytes,
    ) -> Result<(Call, (CallBytes, Option<HeldBytes>)), Refusal> {
        let Some(mut parameters) = parameters else {
            return Ok((call, (held, None)));
        };
        let message = match &call.body {
            Body::Empty => Bytes::new(),
            Body::One(message) => message.clone(),
            Body::Messages(_) | Body::Octets(_) if parameters.is_empty() => {
                return Ok((call, (held, None)));
            }
            Body::Messages(_) | Body::Octets(_) => {
                let message = "a stream of messages has no parameters in its path or query";
                let error = Error::new(Kind::InvalidArgument, Blame::Client, message);
                return Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, error));
            }
        };
        let is_form = is_form(headers) && !message.is_empty();
        if !is_form && parameters.is_empty() {
            return Ok((call, (held, None)));
        }
        let object = match is_form {
            true => {
                form::read(&message, headers, &mut parameters, self.types())?;
                parameters.into_object(&[])?
            }
            false => parameters.into_object(&message)?,
        };
        let more = bytes.hold(object.len())?;
        Ok((call.with_body(Body::One(object)), (held, Some(more))))
    }
}

/// The call, whose message fits `schema`; those of a stream are looked at as they come.
async fn checked(
    call: Call,
    schema: Arc<dyn RequestSchema>,
    bytes: &ConnectionBytes,
) -> Result<Call, Refusal> {
    let message = match &call.body {
        Body::Empty => Bytes::new(),
        Body::One(message) => message.clone(),
        Body::Messages(_) => {
            let wrap = |messages| BodyStream::from_source(CheckedMessages::new(messages, schema));
            return Ok(Call {
                body: call.body.map_stream(wrap),
                ..call
            });
        }
        // What is no JSON, and flows.
        Body::Octets(_) => {
            let message = "the request is no JSON, which its schema could be compared with";
            return Err(Refusal::invalid(
                StatusCode::UNPROCESSABLE_ENTITY,
                message.to_owned(),
            ));
        }
    };
    schema::check(&schema, &message, bytes).await?;
    Ok(call)
}
