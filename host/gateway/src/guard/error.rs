//! Why a guard cannot be built of a configuration.

use std::path::PathBuf;

use postern_net::http::FetchError;

use super::keys::KeysError;
use crate::{config::Faults, sources::sight::ReadError, users::UserError};

/// Why a guard cannot be built.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GuardError {
    #[error(transparent)]
    File(#[from] ReadError),
    #[error("{} is not there", .0.display())]
    Absent(PathBuf),
    #[error("{} is not UTF-8", .0.display())]
    NotText(PathBuf),
    #[error("keys of issuer {issuer} {}: {source}", path.display())]
    Keys {
        issuer: String,
        path: PathBuf,
        source: KeysError,
    },
    #[error("keys of issuer {issuer}: {source}")]
    Fetch { issuer: String, source: FetchError },
    #[error(transparent)]
    Faults(#[from] Faults),
    #[error("{} and {} have the same API key", names[0], names[1])]
    SameKey { names: [String; 2] },
    #[error("{name} has a key in the configuration and one in {}; an owner has one", path.display())]
    SameOwner { name: String, path: PathBuf },
    #[error("auth.unix.{owner}: {source}")]
    User { owner: String, source: UserError },
    #[error("{kind} {id} is named by auth.unix.{} and by auth.unix.{}", owners[0], owners[1])]
    SameUser {
        kind: &'static str,
        id: u32,
        owners: [String; 2],
    },
    #[error("limit {limit} admits no call")]
    Rate { limit: String },
}
