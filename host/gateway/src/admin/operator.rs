//! Which operator asks for a change, as far as the connection says.
//!
//! | connection | who |
//! | --- | --- |
//! | TLS with a client's certificate | `certificate "CN=ada"`, by its subject |
//! | a Unix socket | `uid 1000 (ada)`, as the kernel says; the name where the system knows one |
//! | any other | `unknown at 127.0.0.1` |
//!
//! What a client says of itself in a header is not believed.

use std::sync::Arc;

use postern_core::{Origin, Peer};
use tokio::task::spawn_blocking;

use crate::users;

/// Who is at the other end.
pub(super) async fn who(peer: Option<Arc<Peer>>) -> String {
    let Some(peer) = peer else {
        return UNKNOWN.to_owned();
    };
    // A name may be asked of another machine.
    let named = spawn_blocking(move || named(&peer, users::user_name)).await;
    named.unwrap_or_else(|_| UNKNOWN.to_owned())
}

fn named(peer: &Peer, user_name: impl Fn(u32) -> Option<String>) -> String {
    let certificate = peer.tls.as_ref().and_then(|tls| tls.client.as_ref());
    if let Some(certificate) = certificate {
        let subject: String = certificate.subject.chars().take(NAME_CHARS_MAX).collect();
        return match subject.is_empty() {
            true => format!("certificate {}", certificate.fingerprint),
            false => format!("certificate {subject:?}"),
        };
    }
    match &peer.origin {
        Origin::Unix(unix) => match user_name(unix.uid) {
            Some(name) => format!("uid {} ({name})", unix.uid),
            None => format!("uid {}", unix.uid),
        },
        Origin::Ip(address) => format!("{UNKNOWN} at {}", address.ip()),
        Origin::Local => UNKNOWN.to_owned(),
    }
}

const UNKNOWN: &str = "unknown";
const NAME_CHARS_MAX: usize = 200;

#[cfg(test)]
mod tests {
    use postern_core::{Transport, origin::UnixPeer};

    use super::*;

    fn at(origin: Origin) -> Peer {
        Peer::new(Transport::Http, origin)
    }

    fn unix(uid: u32) -> Peer {
        at(Origin::Unix(UnixPeer {
            uid,
            gid: 7,
            pid: None,
            path: None,
        }))
    }

    #[test]
    fn an_operator_is_who_the_connection_says() {
        let ada = |uid| (uid == 1000).then(|| "ada".to_owned());
        assert_eq!(named(&unix(1000), ada), "uid 1000 (ada)");
        assert_eq!(named(&unix(7), ada), "uid 7");
        let address = "[::1]:7".parse().expect("an address");
        assert_eq!(named(&at(Origin::Ip(address)), ada), "unknown at ::1");
        assert_eq!(named(&at(Origin::Local), ada), "unknown");
    }

    #[tokio::test]
    async fn the_system_is_asked_for_the_name_of_a_user() {
        assert_eq!(who(Some(Arc::new(unix(0)))).await, "uid 0 (root)");
        assert_eq!(who(None).await, "unknown");
    }
}
