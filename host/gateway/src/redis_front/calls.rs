//! `CALL service/method [payload]`: a call as every other front makes it. Its answer is the reply's
//! message; of a reply of several, an array of them.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{
    Blame, Body, Call, Context, Error, Kind, Reply, Text,
    resp::{RespError, RespRequest, RespValue},
};
use postern_net::resp::RespAnswer;

use super::{client::RedisClient, failure::told};

impl RedisClient {
    pub(super) fn call(&self, request: &RespRequest) -> RespAnswer {
        let call = match self.call_of(request) {
            Ok(call) => call,
            Err(error) => return RespAnswer::Now(error.into()),
        };
        let bounds = ReplyBounds {
            items_max: self.rules().redis.call_items_max,
            bytes_max: self.rules().redis.output_bytes_max.octets(),
        };
        let calling = self.listener.handler.call(call);
        RespAnswer::Later(Box::pin(async move {
            let answered = match calling.await {
                Ok(reply) => bounds.read(reply).await,
                Err(error) => Err(error),
            };
            answered.unwrap_or_else(|error| told(&error))
        }))
    }

    fn call_of(&self, request: &RespRequest) -> Result<Call, RespError> {
        if request.len() > 3 {
            return Err(RespError::wrong_arity("call"));
        }
        let target = Text::from_utf8(request.bytes(1))
            .map_err(|_| RespError::fixed("ERR the method is not UTF-8"))?;
        let (service, method) = match target.rsplit_once('/') {
            Some((service, method)) => (target.share(service), target.share(method)),
            None => {
                let service = self.rules().default_service.clone();
                let service = service.ok_or_else(|| {
                    RespError::fixed("ERR a call is written as CALL service/method payload")
                })?;
                (service, target)
            }
        };
        let body = match request.len() {
            2 => Body::Empty,
            _ => Body::One(request.bytes(2)),
        };
        Ok(Call {
            headers: self.headers(),
            body,
            context: Context::of(Arc::clone(&self.peer)),
            ..Call::unary(service, method, Bytes::new())
        })
    }
}

/// What of a reply one answer may hold.
#[derive(Clone, Copy)]
struct ReplyBounds {
    items_max: usize,
    bytes_max: usize,
}

impl ReplyBounds {
    async fn read(self, reply: Reply) -> Result<RespValue, Error> {
        let messages = match reply.body {
            Body::Empty => return Ok(RespValue::Bulk(Bytes::new())),
            Body::One(message) => return Ok(RespValue::Bulk(message)),
            octets @ Body::Octets(_) => {
                let octets = octets.into_one(self.bytes_max).await?;
                return Ok(RespValue::Bulk(octets));
            }
            Body::Messages(messages) => messages,
        };
        let (mut messages, mut items, mut n_bytes) = (messages, Vec::new(), 0_usize);
        while let Some(message) = messages.next().await {
            let message = message?;
            n_bytes = n_bytes.saturating_add(message.len());
            let limit = self.items_max;
            if items.len() >= limit || n_bytes > self.bytes_max {
                let message = format!(
                    "the reply has more than {limit} messages or {} octets, which one answer may hold",
                    self.bytes_max
                );
                return Err(Error::new(Kind::ResourceExhausted, Blame::Client, message));
            }
            items.push(RespValue::Bulk(message));
        }
        Ok(RespValue::Array(items))
    }
}
