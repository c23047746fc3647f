//! Role `handler`: one message in, one message out.

use std::{mem, sync::Arc};

use bytes::Bytes;
use postern_core::{Blame, Body, BoxFuture, Call, Error, Kind, Reply, Text};

use crate::{
    bindings::HandleResult,
    convert::{self, Stop},
    generation::Home,
    instance::Halt,
    lease::Lease,
    limits::octets,
    state::{Current, Head},
    stats::Outcome,
    way::Way,
};

/// What goes into the guest.
struct Request {
    service: Text,
    method: Text,
    body: Bytes,
}

/// Answers `call` by the guest's `handle`.
///
/// With its message at hand and an instance idle, a call is handed to the instance at once: what the
/// future then holds is small, and a small future is a cheap one (every octet of it is copied when it
/// is boxed).
pub(crate) fn call(home: Arc<Home>, call: Call) -> BoxFuture<Result<Reply, Error>> {
    if matches!(call.body, Body::Many(_)) {
        return Box::pin(gather(home, call));
    }
    match home.try_lease() {
        Ok(lease) => begin(lease, call),
        Err(home) => Box::pin(wait(home, call)),
    }
}

/// Reads a stream that must hold one message, then goes on as ever.
async fn gather(home: Arc<Home>, call: Call) -> Result<Reply, Error> {
    let limit = home.generation().guest.spec.limits.input_bytes_max;
    let body = Body::One(call.body.into_one(limit).await?);
    self::call(home, Call { body, ..call }).await
}

/// Waits for an instance, then goes on as ever.
async fn wait(home: Arc<Home>, call: Call) -> Result<Reply, Error> {
    let lease = home.lease(call.context.deadline).await?;
    begin(lease, call).await
}

fn begin(mut lease: Lease, mut call: Call) -> BoxFuture<Result<Reply, Error>> {
    let body = match mem::take(&mut call.body) {
        Body::One(message) => message,
        Body::Empty | Body::Many(_) => Bytes::new(),
    };
    if let Err(error) = check_input(body.len(), lease.guest().spec.limits.input_bytes_max) {
        lease.hand_back();
        return Box::pin(std::future::ready(Err(error)));
    }
    let request = Request {
        // Only log lines ask the store for the names, and those are written on fibers.
        service: mem::take(&mut call.service),
        method: mem::take(&mut call.method),
        body,
    };
    lease.begin(Some(Current::new(Head::Call(Box::new(call)))));
    match lease.way() {
        Way::Plain => enter(lease, request),
        Way::Fiber => Box::pin(run(lease, request)),
    }
}

/// Runs the guest here and now.
fn enter(mut lease: Lease, request: Request) -> BoxFuture<Result<Reply, Error>> {
    let Request {
        service,
        method,
        body,
    } = &request;
    let answered = match lease.instance().handle_plainly(service, method, body) {
        Ok(answer) => finish(lease, answer),
        Err(Halt::Trapped(trapped)) => Err(lease.trap(trapped)),
        Err(Halt::Departed) => {
            lease.depart();
            return Box::pin(run(lease, request));
        }
    };
    Box::pin(std::future::ready(answered))
}

/// Runs the guest on a fiber, from the beginning.
async fn run(mut lease: Lease, request: Request) -> Result<Reply, Error> {
    if !lease.is_fiber() {
        lease = lease.renew().await?;
    }
    let Request {
        service,
        method,
        body,
    } = &request;
    let instance = lease.instance();
    instance.set_names(service, method);
    match instance.handle(service, method, body).await {
        Ok(answer) => finish(lease, answer),
        Err(trapped) => Err(lease.trap(trapped)),
    }
}

fn finish(mut lease: Lease, answer: HandleResult) -> Result<Reply, Error> {
    let headers = lease.instance().end();
    match answer {
        Ok(octets) => {
            let (length, limit) = (octets.len(), lease.guest().spec.limits.output_bytes_max);
            if length > limit {
                return Err(lease.trap(Stop::Output { length, limit }.into()));
            }
            lease.finish(Outcome::Ok);
            Ok(Reply {
                headers,
                body: Body::One(Bytes::from(octets)),
            })
        }
        Err(failure) => {
            lease.finish(Outcome::Failed);
            Err(convert::to_error(failure))
        }
    }
}

/// Refuses a message that is larger than what the guest may be handed.
pub(crate) fn check_input(length: usize, limit: usize) -> Result<(), Error> {
    if length <= limit {
        return Ok(());
    }
    let limit = octets(limit);
    let message = format!("message of {length} octets exceeds the plugin's limit of {limit}");
    Err(Error::new(Kind::ResourceExhausted, Blame::Client, message).with_too_large())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_the_limit_fits_and_one_more_does_not() {
        assert!(check_input(1024, 1024).is_ok());
        let error = check_input(1025, 1024).unwrap_err();
        assert_eq!(
            error.message,
            "message of 1025 octets exceeds the plugin's limit of 1 KiB"
        );
    }
}
