//! The PROXY protocol before all else of a connection: a proxy in front of this gateway says for whom
//! it connects. Taken from addresses that are trusted, and asked of them; whoever else sends a header
//! sends octets that are no request.

mod header;

use std::io;

use postern_core::Origin;
use tokio::io::AsyncReadExt;

pub use self::header::ProxyVersion;
pub(crate) use self::header::encode;
use self::header::{
    BEGIN_BYTES, ProxyError, V1_BYTES_MAX, V2_FIXED_BYTES, read_v1, read_v2, v2_length, version,
};
use super::handshake::{ConnectionFacts, Handshake};
use crate::link::StreamLink;

/// Reads a header of the PROXY protocol where `trust` asks for one, then goes on with `inner`.
pub(crate) struct ProxyHandshake<H, T> {
    pub(crate) inner: H,
    pub(crate) trust: T,
}

/// From whom a header is taken.
pub(crate) trait ProxyTrust: Send + Sync + 'static {
    fn expects_header(&self, origin: &Origin) -> bool;
}

impl<A: StreamLink, H: Handshake<A>, T: ProxyTrust> Handshake<A> for ProxyHandshake<H, T> {
    type Stream = H::Stream;

    const CAN_REFUSE: bool = H::CAN_REFUSE;

    /// A peer that takes its time is bounded as in every handshake.
    async fn shake(
        &self,
        mut accepted: A,
        mut facts: ConnectionFacts,
    ) -> io::Result<(Self::Stream, ConnectionFacts)> {
        if self.trust.expects_header(&facts.origin)
            && let Some(client) = read(&mut accepted).await?
        {
            facts.origin = Origin::Ip(client);
        }
        self.inner.shake(accepted, facts).await
    }
}

/// Reads a header and not an octet more. `None` where the proxy speaks for itself.
async fn read(stream: &mut impl StreamLink) -> io::Result<Option<std::net::SocketAddr>> {
    let mut begin = [0; BEGIN_BYTES];
    stream.read_exact(&mut begin).await?;
    match version(&begin)? {
        ProxyVersion::V1 => {
            let mut line = begin.to_vec();
            while !line.ends_with(b"\n") {
                if line.len() == V1_BYTES_MAX {
                    let limit = V1_BYTES_MAX;
                    return Err(ProxyError::TooLong { limit }.into());
                }
                line.push(stream.read_u8().await?);
            }
            Ok(read_v1(&line)?)
        }
        ProxyVersion::V2 => {
            let mut fixed = [0; V2_FIXED_BYTES];
            stream.read_exact(&mut fixed).await?;
            let mut rest = vec![0; v2_length(fixed)?];
            stream.read_exact(&mut rest).await?;
            Ok(read_v2(fixed, &rest)?)
        }
    }
}

impl From<ProxyError> for io::Error {
    fn from(error: ProxyError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}
