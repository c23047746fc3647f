//! Codings of messages, as those of gRPC (`grpc/coding.rs`): of the one of a unary call in `content-encoding`,
//! of a stream's in `connect-content-encoding`.

use http::{HeaderMap, HeaderValue};
use postern_core::{Blame, Error, Kind};

use crate::http::{
    HttpConfig,
    compression::Coding,
    grpc::coding::{self, AcceptedCodings},
};

/// The coding of a request that names it; none where it names none.
///
/// # Errors
/// `unimplemented`, with the names of those that are taken (Connect protocol, "Unary-Request").
pub(super) fn of_name(name: Option<&HeaderValue>) -> Result<Option<Coding>, Error> {
    let coding = coding::coding_of(name);
    coding.map_err(|error| Error::new(Kind::Unimplemented, Blame::Client, error.to_string()))
}

/// The coding of the reply to a request in `of_request`, whose field `accepts` says what its client takes. Who
/// says nothing takes what it sends.
pub(super) fn of_reply(
    headers: &HeaderMap,
    accepts: &str,
    of_request: Option<Coding>,
    config: &HttpConfig,
) -> Option<Coding> {
    if !headers.contains_key(accepts) {
        return of_request;
    }
    let accepted = AcceptedCodings::of(headers, accepts);
    coding::reply_coding(None, of_request, &config.grpc.encodings, accepted)
}
