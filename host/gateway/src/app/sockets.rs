//! The sockets of listeners: bound here, or passed by whoever started the gateway.

use std::io;

use postern_net::{LocalAddress, PassedSockets, SocketListener, UnixSocketListener, tcp};

use crate::{
    config::{Config, ListenAddress, UnixFile},
    users::{self, UserError},
};

/// The owner of a socket's file is nobody.
#[derive(Debug, thiserror::Error)]
#[error("{key}: {source}")]
pub(crate) struct OwnerError {
    key: String,
    source: UserError,
}

/// What listens at `address` for streams. `file` is of a Unix socket.
///
/// # Errors
/// Why nothing does.
pub(super) fn stream(
    address: &ListenAddress,
    file: &UnixFile,
    passed: &PassedSockets,
) -> io::Result<SocketListener> {
    match address {
        ListenAddress::Ip(address) => Ok(SocketListener::Tcp(tcp::listen(*address)?)),
        ListenAddress::Unix(address) => {
            let access = users::access(file).map_err(io::Error::other)?;
            let listener = UnixSocketListener::bind(address, access)?;
            Ok(SocketListener::Unix(listener))
        }
        ListenAddress::Passed(name) => passed.stream(name),
    }
}

/// What takes datagrams at `address`.
///
/// # Errors
/// Why nothing does.
pub(super) fn datagrams(
    address: &ListenAddress,
    passed: &PassedSockets,
) -> io::Result<std::net::UdpSocket> {
    match address {
        ListenAddress::Ip(address) => std::net::UdpSocket::bind(address),
        ListenAddress::Passed(name) => passed.datagrams(name),
        ListenAddress::Unix(_) => Err(io::ErrorKind::Unsupported.into()),
    }
}

/// The rules of the configuration for plain listeners and Unix sockets, for a socket that was passed:
/// only here is known what it is.
///
/// # Errors
/// Which rule refuses it.
pub(super) fn check_place(
    address: &LocalAddress,
    has_tls: bool,
    insecure: bool,
    table: &str,
) -> io::Result<()> {
    let refused = match address {
        LocalAddress::Unix(_) if has_tls => {
            format!("{address} has no TLS: remove [{table}.tls]")
        }
        LocalAddress::Ip(ip) if !has_tls && !insecure && !ip.ip().to_canonical().is_loopback() => {
            format!(
                "{address} can be reached from other machines, and what goes there is plain: add \
                 certificate-file and key-file below [{table}.tls], or insecure = true below \
                 [{table}] where nobody else is on the way"
            )
        }
        LocalAddress::Unix(_) | LocalAddress::Ip(_) => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidInput, refused))
}

/// Whether the owners of all sockets are somebody. Blocks.
///
/// # Errors
/// The first that is nobody.
pub(super) fn check_owners(config: &Config) -> Result<(), OwnerError> {
    let listeners = config.listeners.iter();
    let listeners = listeners.filter(|(_, listener)| listener.enabled);
    let files = listeners.map(|(name, listener)| (format!("listeners.{name}"), &listener.unix));
    let admin = ("admin".to_owned(), &config.admin.unix);
    for (table, file) in files.chain([admin]) {
        users::access(file).map_err(|source| OwnerError {
            key: format!("{table}.unix.owner"),
            source,
        })?;
    }
    Ok(())
}
