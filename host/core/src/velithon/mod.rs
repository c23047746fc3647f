//! Velithon VSP, the service protocol of the Python package `velithon` 0.2.0 to 0.6.0, without sockets: JSON
//! messages with their length in front, over a stream. host/docs/velithon.md says what it means here.
//!
//! | file | what it holds |
//! | --- | --- |
//! | `frame` | a stream as frames, within a bound that the published form has not |
//! | `message` | requests and responses, read and written |
//! | `call_id` | the UUIDs by which responses are matched |
//! | `payload` | bodies of messages and payloads of calls, one made of the other |
//! | `failure` | errors, which are texts there and have kinds here |
//! | `health` | the endpoint that is reserved |
//! | `session` | one connection: octets become requests, responses and what is answered at once |
//! | `pending` | the calls of one client that wait for their responses, over all its connections |

mod call_id;
mod failure;
mod frame;
mod health;
mod message;
mod payload;
mod pending;
mod session;
#[cfg(test)]
mod tests;

pub use self::{
    call_id::CallId,
    failure::{endpoint_not_found, error_of_response, failure_body},
    frame::{FRAME_PREFIX_BYTES, VelithonFrame, VelithonFrames},
    health::{HEALTH, check_health, health_body},
    message::{VelithonFault, VelithonHeader, VelithonMessage, read, write, write_request},
    payload::{check_arguments, list_body, reply_body, request_body},
    pending::{PendingCalls, TooManyCalls},
    session::{OversizeResponse, VelithonEvent, VelithonSession},
};
