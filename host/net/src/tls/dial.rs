//! Sessions over TLS.

use std::{net::SocketAddr, sync::Arc};

use postern_core::{Blame, BoxFuture, Error, Transport};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::{client::ClientTls, error::TlsError};
use crate::{
    dial::{Carried, Destination, StreamDialer, unreachable},
    tcp,
};

/// Opens sessions over TLS, with the `tls` of a client's configuration.
#[derive(Debug)]
pub struct TlsDialer;

impl StreamDialer for TlsDialer {
    const NAME: &'static str = Transport::Tls.name();
    const NEEDS_HOST: bool = true;

    type Link = TlsStream<TcpStream>;

    fn open(
        &self,
        destination: &Destination,
        carried: Carried,
        tls: &ClientTls,
    ) -> BoxFuture<Result<TlsStream<TcpStream>, Error>> {
        let (destination, tls) = (destination.clone(), tls.config(carried.alpn));
        // Boxed: the state of a handshake is large, and whoever waits for this is not.
        Box::pin(async move { connect(&destination, tls).await })
    }
}

/// A connection with `destination`, verified by `tls`.
pub(crate) async fn connect(
    destination: &Destination,
    tls: Result<Arc<rustls::ClientConfig>, TlsError>,
) -> Result<TlsStream<TcpStream>, Error> {
    let unusable = |reason: String| {
        let message = format!("cannot verify {destination}: {reason}");
        Error::unavailable(Blame::Gateway, message)
    };
    let tls = tls.map_err(|error| unusable(error.to_string()))?;
    let address: SocketAddr = destination.ip()?;
    let name = match destination.host() {
        Some(host) => {
            ServerName::try_from(host.to_owned()).map_err(|error| unusable(error.to_string()))?
        }
        None => ServerName::from(address.ip()),
    };
    let failed = |error| unreachable(destination, error);
    let stream = tcp::dial(address).await.map_err(failed)?;
    let connector = TlsConnector::from(tls);
    connector.connect(name, stream).await.map_err(failed)
}
