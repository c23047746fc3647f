//! Where sessions lead.

use std::{fmt, net::SocketAddr};

use postern_core::{Error, Text};

/// Where a session leads, once names are looked up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Destination {
    Ip(SocketAddr),
    /// One of the addresses of a host, whose name its certificate is to bear.
    Host {
        host: Text,
        address: SocketAddr,
    },
    /// The same, and where there the session is.
    Url {
        host: Text,
        address: SocketAddr,
        path: Text,
    },
    /// The path of a socket of this machine.
    Path(Text),
}

impl Destination {
    /// The address, where it is one.
    #[must_use]
    pub const fn socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Ip(address) | Self::Host { address, .. } | Self::Url { address, .. } => {
                Some(*address)
            }
            Self::Path(_) => None,
        }
    }

    /// The name, where it is known by one.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Host { host, .. } | Self::Url { host, .. } => Some(host.as_str()),
            Self::Ip(_) | Self::Path(_) => None,
        }
    }

    /// The same, whose certificate is to bear `name`.
    pub(crate) fn named(self, name: &Text) -> Self {
        match self {
            Self::Host { address, .. } => Self::Host {
                host: name.clone(),
                address,
            },
            Self::Url { address, path, .. } => Self::Url {
                host: name.clone(),
                address,
                path,
            },
            Self::Ip(_) | Self::Path(_) => self,
        }
    }

    /// For a dialer whose transport has IP addresses.
    pub(crate) fn ip(&self) -> Result<SocketAddr, Error> {
        self.socket_addr()
            .ok_or_else(|| Error::internal(format!("{self} is no address of a host")))
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Host { host, address } => write!(f, "{host} ({address})"),
            Self::Url {
                host,
                address,
                path,
            } => write!(f, "{host}{path} ({address})"),
            Self::Path(path) => f.write_str(path),
        }
    }
}

impl From<SocketAddr> for Destination {
    fn from(address: SocketAddr) -> Self {
        Self::Ip(address)
    }
}
