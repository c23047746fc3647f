//! What a guest does that is seen outside of its store, while it answers the copy of a call.

use std::{any::Any, sync::Arc};

use postern_core::{Context, Kind, shadow::ShadowMark};

use crate::{bindings::Failure, convert::failure};

/// Whether `what` may be done for a call of `context`: not for a copy, whose answer is merely compared. That it
/// was wanted is noted.
///
/// # Errors
/// `failed-precondition` for a copy, as the guest is told.
pub(crate) fn permit(context: Option<&Context>, what: &str) -> Result<(), Failure> {
    let Some(mark) = mark(context) else {
        return Ok(());
    };
    mark.note_effect();
    let message = format!("this is a copy of a call, which has no effect: {what} is refused");
    Err(failure(Kind::FailedPrecondition, message))
}

/// Whether it is a copy.
pub(crate) fn is_shadow(context: Option<&Context>) -> bool {
    mark(context).is_some()
}

/// That of a copy.
pub(crate) fn mark(context: Option<&Context>) -> Option<&Arc<ShadowMark>> {
    context?.shadow.as_ref()
}

/// What a copy works on, where that is a `T`.
pub(crate) fn state<T: Any + Send + Sync>(context: Option<&Context>) -> Option<Arc<T>> {
    mark(context)?.state()?.downcast().ok()
}
