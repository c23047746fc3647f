//! What a Unix socket is called: a path, or an abstract name of Linux, which no file stands for.

use std::{fmt, io, os::unix::ffi::OsStrExt, path::PathBuf, str::FromStr};

use socket2::SockAddr;
use tokio::net::UnixStream;

/// What a Unix socket is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnixAddress {
    /// An absolute path.
    Path(PathBuf),
    /// `@NAME`: a name that goes with the last socket that has it. Whoever is on the machine may
    /// connect (unix(7)).
    Abstract(String),
}

/// Why a text names no socket.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnixAddressError {
    #[error("{0:?} is neither an absolute path nor a name such as \"@postern\"")]
    NoName(String),
    #[error("{found} octets of a socket's name exceed the limit of {limit}")]
    TooLong { found: usize, limit: usize },
}

/// Octets of `sun_path` (unix(7)), of which one is a NUL: behind a path, before an abstract name.
const NAME_BYTES_MAX: usize = 107;

impl UnixAddress {
    /// As the system takes it.
    pub(super) fn to_socket_address(&self) -> io::Result<SockAddr> {
        match self {
            Self::Path(path) => SockAddr::unix(path),
            Self::Abstract(name) => SockAddr::unix(format!("\0{name}")),
        }
    }

    /// A connection with whoever listens there. The caller bounds the time.
    pub(crate) async fn connect(&self) -> io::Result<UnixStream> {
        match self {
            Self::Path(path) => UnixStream::connect(path).await,
            // An abstract name begins with a NUL for the system.
            Self::Abstract(name) => UnixStream::connect(format!("\0{name}")).await,
        }
    }

    /// The name of a socket that is bound, if it has one that is text.
    pub(crate) fn of(address: &SockAddr) -> Option<Self> {
        if let Some(path) = address.as_pathname() {
            return Some(Self::Path(path.to_owned()));
        }
        let name = address.as_abstract_namespace()?;
        let name = std::str::from_utf8(name).ok()?;
        Some(Self::Abstract(name.to_owned()))
    }
}

impl FromStr for UnixAddress {
    type Err = UnixAddressError;

    /// `/run/postern.sock`, `@postern`.
    fn from_str(text: &str) -> Result<Self, UnixAddressError> {
        let no_name = || UnixAddressError::NoName(text.to_owned());
        let (address, found) = match text.strip_prefix('@') {
            Some(name) => (Self::Abstract(name.to_owned()), name.len()),
            None => (Self::Path(text.into()), text.len()),
        };
        let is_named = match &address {
            Self::Abstract(name) => !name.is_empty(),
            Self::Path(path) => path.is_absolute() && !path.as_os_str().as_bytes().ends_with(b"/"),
        };
        if !is_named || text.contains('\0') {
            return Err(no_name());
        }
        if found > NAME_BYTES_MAX {
            let limit = NAME_BYTES_MAX;
            return Err(UnixAddressError::TooLong { found, limit });
        }
        Ok(address)
    }
}

/// As it is written: `/run/postern.sock`, `@postern`.
impl fmt::Display for UnixAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Abstract(name) => write!(f, "@{name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_called_by_a_path_or_a_name() {
        for text in ["/run/a.sock", "@a", "@a/b", "/a b"] {
            let address: UnixAddress = text.parse().expect("a name");
            assert_eq!(address.to_string(), text);
            let socket = address.to_socket_address().expect("short");
            assert_eq!(UnixAddress::of(&socket), Some(address));
        }
        for text in ["", "@", "a.sock", "./a", "/run/", "/a\0b", "@\0"] {
            let refused = text.parse::<UnixAddress>();
            assert_eq!(refused, Err(UnixAddressError::NoName(text.to_owned())));
        }
    }

    #[test]
    fn a_name_is_as_long_as_the_system_takes_it_and_no_longer() {
        for first in ["/", "@"] {
            let rest = NAME_BYTES_MAX - if first == "/" { 1 } else { 0 };
            let longest = format!("{first}{}", "a".repeat(rest));
            let address: UnixAddress = longest.parse().expect("it fits");
            assert!(address.to_socket_address().is_ok());
            let refused = format!("{longest}a").parse::<UnixAddress>();
            let (found, limit) = (NAME_BYTES_MAX + 1, NAME_BYTES_MAX);
            assert_eq!(refused, Err(UnixAddressError::TooLong { found, limit }));
        }
    }
}
