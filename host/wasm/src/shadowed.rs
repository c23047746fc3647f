//! What a guest does that is seen outside of its store, while it answers the copy of a call, and what it may not
//! have open when the copy comes.

use std::{any::Any, sync::Arc};

use postern_core::{Context, Kind, shadow::ShadowMark};

use crate::{bindings::Failure, convert::failure, spec::LogLevel, state::Guest};

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

/// Whether a guest may open `what` at all, which it can go on with in a later entry. Where copies come to it, it may
/// only in a call: what it opened while it started, or was asked for its health, a copy would find. Whatever calls
/// left open is gone by then (`Generation::begin_copies`).
pub(crate) fn may_open(guest: &Guest, is_in_call: bool, what: &str) -> bool {
    let may = is_in_call || !guest.spec.answers_copies;
    if !may && guest.spec.log_level <= LogLevel::Warn && guest.admit_line() {
        let plugin = &*guest.plugin;
        tracing::warn!(
            target: "plugin",
            plugin,
            "{what} outside of a call is refused: copies of calls come to this version, and would find it open"
        );
    }
    may
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
