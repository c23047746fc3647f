//! Queries of calls by `GET`: whatever message is read of one is read again of a query that carries it in base64.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

use crate::http::connect_rpc::query::CallQuery;

/// A query as the head of a request has it, which is text.
pub fn connect_query(octets: &[u8]) {
    let Ok(query) = str::from_utf8(octets) else {
        return;
    };
    let Some(call) = CallQuery::of(query) else {
        return;
    };
    assert!(call.is_marked || call.encoding.is_some());
    // A name of a coding, or the reason why it is none.
    let _ = call.compression();
    let Ok(message) = call.message() else {
        return;
    };
    assert!(
        message.len() <= query.len(),
        "a message is no longer than its query"
    );
    let coded = URL_SAFE_NO_PAD.encode(&message);
    let again = format!("message={coded}&base64=1&encoding=proto&connect=v1&message=other");
    let again = CallQuery::of(&again).expect("it says that it is a call");
    assert_eq!(again.message().expect("it is base64"), message);
}
