//! Why nothing was fetched.

use std::{error::Error as StdError, time::Duration};

use oci_client::errors::{DigestError, OciDistributionError, OciErrorCode};

use crate::printed;

/// Why an artifact of a registry is not here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PullFault {
    #[error("{registry} cannot be asked: {reason}")]
    Unreachable { registry: String, reason: String },
    #[error("{registry} gives no answer within {} s", limit.as_secs())]
    Late { registry: String, limit: Duration },
    #[error("{registry} asks for credentials, and none were given")]
    NoCredentials { registry: String },
    #[error("{registry} does not take the credentials of {user}, or they may not read this")]
    Denied { registry: String, user: String },
    #[error("{registry} knows no {what}")]
    Unknown { registry: String, what: String },
    #[error("{what} is not what its digest says: {expected} is expected, and {found} is there")]
    Digest {
        what: String,
        expected: String,
        found: String,
    },
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        what: String,
        bytes: u64,
        limit: u64,
    },
    #[error("the answer of {registry} exceeds the limit of {limit} bytes")]
    Flood { registry: String, limit: u64 },
    #[error("it is no component: {reason}")]
    NoComponent { reason: String },
    #[error("{registry} answered: {reason}")]
    Refused { registry: String, reason: String },
}

/// Whom was asked, for what, and as whom.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub registry: &'a str,
    pub what: &'a str,
    pub user: Option<&'a str>,
}

impl PullFault {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoCredentials { .. } => {
                Some("log in with `docker login`, or give --username NAME --password-stdin")
            }
            Self::Denied { .. } => Some("look at --username, or at what `docker login` has kept"),
            Self::Unknown { .. } => Some("look at the repository and the tag in the registry"),
            Self::Digest { .. } => Some(
                "name the digest that you expect, or pull again; nothing was put into the folder",
            ),
            Self::NoComponent { .. } => Some(
                "push it with `oras push REFERENCE users.wasm:application/wasm users.toml:application/toml`",
            ),
            Self::Unreachable { .. } => {
                Some("is it there? --insecure asks a registry on this machine without TLS")
            }
            Self::Late { .. }
            | Self::TooLarge { .. }
            | Self::Flood { .. }
            | Self::Refused { .. } => None,
        }
    }
}

impl Asked<'_> {
    pub(super) fn fault(&self, error: OciDistributionError) -> PullFault {
        let registry = self.registry.to_owned();
        let refused = |reason: String| PullFault::Refused {
            registry: registry.clone(),
            reason,
        };
        match error {
            OciDistributionError::UnauthorizedError { .. }
            | OciDistributionError::AuthenticationFailure(_) => self.denied(),
            OciDistributionError::RegistryError { envelope, .. } => {
                let has = |code: OciErrorCode| envelope.errors.iter().any(|e| e.code == code);
                if has(OciErrorCode::Unauthorized) || has(OciErrorCode::Denied) {
                    self.denied()
                } else if has(OciErrorCode::ManifestUnknown)
                    || has(OciErrorCode::NameUnknown)
                    || has(OciErrorCode::BlobUnknown)
                    || has(OciErrorCode::NotFound)
                {
                    self.unknown()
                } else {
                    let errors = envelope.errors.iter().map(|error| error.message.as_str());
                    refused(shown(&errors.collect::<Vec<_>>().join("; ")))
                }
            }
            OciDistributionError::ServerError { code, message, .. } => match code {
                401 | 403 => self.denied(),
                404 => self.unknown(),
                _ => refused(shown(&format!("status {code}, {}", message.trim()))),
            },
            OciDistributionError::DigestError(DigestError::VerificationError {
                expected,
                actual,
            }) => self.other_digest(expected, actual),
            OciDistributionError::RequestError(error) => PullFault::Unreachable {
                registry,
                reason: root_cause(&error),
            },
            OciDistributionError::ImageManifestNotFoundError(_)
            | OciDistributionError::ImageIndexParsingNoPlatformResolverError => {
                PullFault::NoComponent {
                    reason: "it is an index of several artifacts; name one of them by its digest"
                        .to_owned(),
                }
            }
            OciDistributionError::UnsupportedMediaTypeError(found) => PullFault::NoComponent {
                reason: format!("its type is {}", shown(&found)),
            },
            OciDistributionError::IoError(error) => self.of_stream(&error),
            other @ (OciDistributionError::DigestError(_)
            | OciDistributionError::ConfigConversionError(_)
            | OciDistributionError::GenericError(_)
            | OciDistributionError::HeaderValueError(_)
            | OciDistributionError::IncompatibleLayerMediaTypeError(_)
            | OciDistributionError::JsonError(_)
            | OciDistributionError::ManifestEncodingError(_)
            | OciDistributionError::ManifestParsingError(_)
            | OciDistributionError::PushNoDataError
            | OciDistributionError::PushLayerNoDataError
            | OciDistributionError::PullNoLayersError
            | OciDistributionError::RegistryNoDigestError
            | OciDistributionError::RegistryNoLocationError
            | OciDistributionError::RegistryTokenDecodeError(_)
            | OciDistributionError::SpecViolationError(_)
            | OciDistributionError::UrlParseError(_)
            | OciDistributionError::UnsupportedSchemaVersionError(_)
            | OciDistributionError::VersionedParsingError(_)) => refused(shown(&other.to_string())),
        }
    }

    /// A layer broke off.
    pub(super) fn of_stream(&self, error: &std::io::Error) -> PullFault {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(DigestError::VerificationError { expected, actual }) = inner {
            return self.other_digest(expected.clone(), actual.clone());
        }
        PullFault::Unreachable {
            registry: self.registry.to_owned(),
            reason: root_cause(error),
        }
    }

    fn other_digest(&self, expected: String, found: String) -> PullFault {
        PullFault::Digest {
            what: self.what.to_owned(),
            expected: shown(&expected),
            found: shown(&found),
        }
    }

    fn denied(&self) -> PullFault {
        let registry = self.registry.to_owned();
        match self.user {
            Some(user) => PullFault::Denied {
                registry,
                user: user.to_owned(),
            },
            None => PullFault::NoCredentials { registry },
        }
    }

    fn unknown(&self) -> PullFault {
        PullFault::Unknown {
            registry: self.registry.to_owned(),
            what: self.what.to_owned(),
        }
    }
}

/// The innermost cause says what it is about.
fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    shown(&cause.to_string())
}

/// What a registry says is shown in part.
fn shown(text: &str) -> String {
    printed::shortened(text, SHOWN_CHARS_MAX)
}

const SHOWN_CHARS_MAX: usize = 300;
