//! What a provider is told whose entry is not taken, not renewed or not kept.

use postern_core::{
    Blame, Error, Kind, Retry,
    registry::{RegisterError, Ttl, directory::RenewError},
};
use postern_wasm::StoreError;

pub(super) fn refused(error: RegisterError) -> Error {
    let told = error.to_string();
    match error {
        RegisterError::StaleIncarnation { .. } => {
            let message = format!("{told}; a later life has taken over, so end");
            Error::new(Kind::FailedPrecondition, Blame::Client, message)
        }
        RegisterError::HeldByAnother { .. } => {
            let message = format!("{told}; choose another name");
            Error::new(Kind::AlreadyExists, Blame::Client, message)
        }
        RegisterError::OwnerFull { .. } | RegisterError::Full { .. } => {
            let message = format!("{told}; unregister some, or wait until leases end");
            let retry = Retry::After(Ttl::default().duration());
            Error::new(Kind::ResourceExhausted, Blame::Client, message).with_retry(retry)
        }
        RegisterError::LeaseNeeded => Error::invalid_argument(told),
        RegisterError::OfPeer => Error::internal(told),
    }
}

pub(super) fn not_renewed(error: RenewError) -> Error {
    let told = error.to_string();
    match error {
        RenewError::NotHeld { .. } => {
            Error::not_found(format!("{told}; its lease has ended, so register again"))
        }
        RenewError::StaleIncarnation { .. } => {
            let message = format!("{told}; a later life has taken over, so end");
            Error::new(Kind::FailedPrecondition, Blame::Client, message)
        }
    }
}

/// What a provider is told whose change cannot be written.
pub(super) fn unwritten(error: &StoreError) -> Error {
    let told = error.to_error();
    let message = format!("the registration cannot be kept: {}", told.message);
    Error::new(told.kind, told.blame, message).with_retry(told.retry)
}
