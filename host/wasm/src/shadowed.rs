//! What a guest does that is seen outside of its store, while it answers the copy of a call.

use postern_core::{Context, Kind, shadow::ShadowMark};

use crate::{bindings::Failure, convert::failure};

/// Whether `what` may be done for a call of `context`: not for a copy, whose answer is merely compared. That it
/// was wanted is noted.
///
/// # Errors
/// `failed-precondition` for a copy, as the guest is told.
pub(crate) fn permit(context: Option<&Context>, what: &str) -> Result<(), Failure> {
    let Some(mark) = shadow(context) else {
        return Ok(());
    };
    mark.note_effect();
    let message = format!("this is a copy of a call, which has no effect: {what} is refused");
    Err(failure(Kind::FailedPrecondition, message))
}

/// Whether it is a copy.
pub(crate) fn is_shadow(context: Option<&Context>) -> bool {
    shadow(context).is_some()
}

fn shadow(context: Option<&Context>) -> Option<&ShadowMark> {
    context?.shadow.as_deref()
}
