//! A route to a method of a service: what users of REST expect of status, body and fields.

use std::{borrow::Cow, sync::Arc};

use bytes::Bytes;
use http::{HeaderMap, Method, Response, StatusCode, request::Parts};
use http_body::Body as HttpBody;
use postern_core::{
    Blame, Body, Call, Error, Kind,
    route::{BodyForm, HttpRoute, MethodEnd, RequestPath},
};

use super::{asker::RouteAsker, called, conditional, form, params::Parameters, target, with_route};
use crate::{
    ConnectionBytes,
    http::{
        JSON,
        accept::{Accepted, PROBLEM, ReplyForm},
        reply::{self, ReplyBody, ReplyTo},
        request::{self, CallBytes, Refusal, TakenBody, is_form},
    },
};

/// Calls the method.
///
/// # Errors
/// 406, 415, 422 and whatever the method fails with.
pub(super) async fn answer<B>(
    route: &HttpRoute,
    end: &MethodEnd,
    head: Parts,
    body: B,
    asker: &RouteAsker<'_>,
) -> Result<Response<ReplyBody>, Refusal>
where
    B: HttpBody<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let accepted = Accepted::of(&head.headers);
    check_accepted(&accepted, end)?;
    // Before the body is read: what is refused for its path takes nothing of it.
    let parameters = parameters(route, end, &head)?;
    let takes = match end.body {
        BodyForm::Json => TakenBody::Json,
        BodyForm::Form => TakenBody::Form,
        BodyForm::Raw => TakenBody::Any,
    };
    let mut target = target(route, end.service.clone(), end.method.clone(), takes);
    target.version.clone_from(&end.version);
    let (peer, bytes) = (Arc::clone(asker.peer), asker.bytes);
    let reading = request::read_call(target, &head, body, asker.config, peer, bytes);
    let (call, held) = reading.await?;
    let (call, held) = merged(call, held, parameters, end, &head.headers, bytes)?;
    let reply = with_route(called(call, held, asker).await?, route);
    let to = ReplyTo {
        form: accepted.reply_form(),
        is_head: head.method == Method::HEAD,
    };
    let response = reply::success(reply, to, bytes)?;
    conditional::judge(&head.method, &head.headers, response)
}

/// What the method answers with must be wanted. An error is told in any case.
fn check_accepted(accepted: &Accepted<'_>, end: &MethodEnd) -> Result<(), Refusal> {
    let produced: Vec<Cow<'_, str>> = match end.produces.is_empty() {
        true => vec![JSON.into()],
        false => end
            .produces
            .iter()
            .map(|media| media.as_str().into())
            .collect(),
    };
    let is_wanted = accepted.reply_form() != ReplyForm::Usual
        || accepted.names(PROBLEM)
        || produced.iter().any(|media| accepted.quality(media) > 0);
    if is_wanted {
        return Ok(());
    }
    let message = format!(
        "this is {}, and nothing of it is accepted",
        produced.join(", ")
    );
    Err(Refusal::invalid(StatusCode::NOT_ACCEPTABLE, message))
}

/// Those of path and query, unless the body goes on as it is.
fn parameters(
    route: &HttpRoute,
    end: &MethodEnd,
    head: &Parts,
) -> Result<Option<Parameters>, Refusal> {
    if end.body == BodyForm::Raw {
        return Ok(None);
    }
    let path = RequestPath::parse(head.uri.path())?;
    // The route has taken the path.
    let params = route.rule.path.params(&path).unwrap_or_default();
    let read = Parameters::read(params, head.uri.query(), &end.types)?;
    Ok(Some(read))
}

/// The call with its parameters in its one message. A stream of messages stays as it is.
fn merged(
    call: Call,
    held: CallBytes,
    parameters: Option<Parameters>,
    end: &MethodEnd,
    headers: &HeaderMap,
    bytes: &ConnectionBytes,
) -> Result<(Call, (CallBytes, Option<crate::HeldBytes>)), Refusal> {
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
            form::read(&message, headers, &mut parameters, &end.types)?;
            parameters.into_object(&[])?
        }
        false => parameters.into_object(&message)?,
    };
    let more = bytes.hold(object.len())?;
    Ok((call.with_body(Body::One(object)), (held, Some(more))))
}
