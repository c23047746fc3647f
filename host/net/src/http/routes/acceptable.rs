//! Whether a client takes what a route answers with (RFC 9110 section 12.5.1).

use http::StatusCode;

use crate::http::{
    accept::{Accepted, PROBLEM, ReplyForm},
    request::Refusal,
};

/// What the method answers with must be wanted. An error is told in any case.
pub(super) fn check_accepted<'p>(
    accepted: &Accepted<'_>,
    produced: impl IntoIterator<Item = &'p str>,
) -> Result<(), Refusal> {
    let produced: Vec<_> = produced.into_iter().collect();
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
