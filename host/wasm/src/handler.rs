//! Role `handler`: one message in, one message out.

use std::sync::Arc;

use bytes::Bytes;
use postern_core::{Body, Call, Error, Kind, Reply, headers::HeadersBuilder};

use crate::{
    convert::{self, Stop},
    generation::Home,
    limits::octets,
    state::Current,
    stats::Outcome,
};

/// Answers `call` by the guest's `handle`.
pub(crate) async fn call(home: Arc<Home>, call: Call) -> Result<Reply, Error> {
    let Call {
        service,
        method,
        headers,
        body,
        context,
        ..
    } = call;
    let body = match body {
        Body::One(octets) => octets,
        Body::Empty => Bytes::new(),
        Body::Many(_) => body.into_one(usize::MAX).await?,
    };
    check_input(
        body.len(),
        home.generation().guest.spec.limits.input_bytes_max,
    )?;
    let mut lease = home.lease(context.deadline).await?;
    let current = Current {
        service: service.clone(),
        method: method.clone(),
        headers,
        context,
        reply: HeadersBuilder::default(),
        streams: None,
    };
    let instance = lease.begin(Some(current));
    let answer = match instance.handle(&service, &method, &body).await {
        Ok(answer) => answer,
        Err(trapped) => return Err(lease.trap(trapped)),
    };
    let headers = instance.end();
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
    Err(Error {
        kind: Kind::ResourceExhausted,
        ..Error::invalid_argument(message)
    })
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
