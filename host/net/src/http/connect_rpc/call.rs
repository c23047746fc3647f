//! From the head of a request to a call, and from a call to its reply.

use std::sync::Arc;

use http::{HeaderMap, request::Parts};
use postern_core::{Body, Call, Error, Reply, service::MethodInfo};
use postern_system::clock;

use super::{
    codec::Codec,
    detect::{ConnectRequest, VERSION},
    metadata, timeout,
};
use crate::{
    byte_budget::Kept,
    http::{
        fields,
        grpc::judged,
        present::Present,
        request::{self, Refusal},
        routes::asker::RouteAsker,
    },
};

/// What the call of a request is made of.
pub(super) struct CallMaker<'a> {
    pub(super) request: &'a ConnectRequest,
    pub(super) head: &'a Parts,
    /// Of its messages and of those of the reply.
    pub(super) codec: Codec,
    /// What is known of the method, where somebody here may have it.
    pub(super) info: Option<&'a MethodInfo>,
    pub(super) asker: &'a RouteAsker<'a>,
}

impl CallMaker<'_> {
    /// The call without its body. What its headers take counts as held.
    ///
    /// # Errors
    /// `invalid-argument` of what the protocol says in fields, and no room for them.
    pub(super) fn begin(&self) -> Result<(Call, Kept), Refusal> {
        let headers = &self.head.headers;
        check_version(headers)?;
        let held = self.asker.bytes.hold(fields::n_octets(headers))?;
        let present = Present::of(headers);
        let peer = Arc::clone(self.asker.peer);
        let mut context = request::context_of(headers, present, peer)?;
        if let Some(timeout) = timeout::of(headers)? {
            context.deadline = clock::now().checked_add(timeout);
            context.is_deadline_of_head = false;
        }
        let facts = fields::facts(&self.head.method, &self.head.uri, headers);
        let call = Call {
            service: self.request.service.clone(),
            method: self.request.method.clone(),
            version: request::version(headers, present),
            headers: metadata::of_request(headers, self.codec)
                .map_err(|error| Error::invalid_argument(error.to_string()))?,
            body: Body::Empty,
            context,
            http: Some(Box::new(facts)),
        };
        Ok((call, Kept::new(held)))
    }

    /// What comes of a call, whose request counts as held until then.
    ///
    /// # Errors
    /// What the call fails with, and what its handler answers under a status of failures.
    pub(super) async fn reply(&self, call: Call, held: Kept) -> Result<Reply, Error> {
        let RouteAsker {
            handler,
            gather,
            is_alone,
            ..
        } = *self.asker;
        let outcome = gather.call(handler, call, is_alone).await;
        drop(held);
        judged(outcome, self.info).await
    }
}

/// Clients need not say which version they speak, and there is one.
fn check_version(headers: &HeaderMap) -> Result<(), Error> {
    match headers.get(VERSION) {
        Some(version) if version != "1" => Err(Error::invalid_argument(format!(
            "{VERSION} {version:?} is not served; 1 is"
        ))),
        Some(_) | None => Ok(()),
    }
}
