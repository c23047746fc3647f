//! Requests to servers of others as forwarded calls: a call says by its facts of HTTP where it goes. Of
//! plugins, whose manifests grant them servers. Names lead to public addresses only: what is of this
//! machine or of its network is named by its address, or as `localhost`.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use parking_lot::Mutex;
use postern_core::{BoxFuture, Call, Error, Handler, HttpFacts, Reply};

use super::forward::{ForwardAddress, ForwardConfig, Forwarder};
use crate::tls::ClientTls;

/// Servers whose connections are kept. The one that was asked longest ago goes first.
const SERVERS_MAX: usize = 256;
/// Connections with one server at a time.
const CONNECTIONS_MAX: usize = 128;
/// Of them, those that are kept without a request.
const IDLE_CONNECTIONS_MAX: usize = 16;

/// Asks servers. Clones share their connections.
#[derive(Debug, Clone)]
pub struct OutgoingClient(Arc<Servers>);

#[derive(Debug)]
struct Servers {
    tls: Arc<ClientTls>,
    known: Mutex<KnownServers>,
}

#[derive(Debug, Default)]
struct KnownServers {
    forwarders: BTreeMap<Server, (u64, Forwarder)>,
    /// Counts requests, so that it is known which server was asked last.
    n_asked: u64,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Server {
    is_secure: bool,
    /// A name in lower case, or an address without brackets.
    host: String,
    port: u16,
}

impl OutgoingClient {
    /// Servers are verified by `tls`.
    #[must_use]
    pub fn new(tls: Arc<ClientTls>) -> Self {
        Self(Arc::new(Servers {
            tls,
            known: Mutex::default(),
        }))
    }

    fn forwarder(&self, server: &Server) -> Forwarder {
        let mut known = self.0.known.lock();
        known.n_asked += 1;
        let now = known.n_asked;
        if let Some((asked, forwarder)) = known.forwarders.get_mut(server) {
            *asked = now;
            return forwarder.clone();
        }
        if known.forwarders.len() >= SERVERS_MAX {
            let oldest = known.forwarders.iter().min_by_key(|(_, (asked, _))| *asked);
            let oldest = oldest.map(|(server, _)| server.clone());
            // Requests that are under way keep theirs.
            drop(oldest.and_then(|oldest| known.forwarders.remove(&oldest)));
        }
        let address = ForwardAddress::Host {
            is_secure: server.is_secure,
            host: server.host.as_str().into(),
            port: server.port,
        };
        let config = ForwardConfig {
            connect_timeout: Duration::from_secs(10),
            connections_max: CONNECTIONS_MAX,
            idle_connections_max: IDLE_CONNECTIONS_MAX,
            tls: Arc::clone(&self.0.tls),
            is_public: !server.is_named_literally(),
            ..ForwardConfig::default()
        };
        let forwarder = Forwarder::new(address, config);
        let kept = (now, forwarder.clone());
        known.forwarders.insert(server.clone(), kept);
        forwarder
    }
}

impl Handler for OutgoingClient {
    fn call(&self, call: Call) -> BoxFuture<Result<Reply, Error>> {
        let server = call.http.as_deref().and_then(Server::of);
        match server {
            Some(server) => self.forwarder(&server).call(call),
            None => {
                let message = "a request names no server by http or https";
                Box::pin(std::future::ready(Err(Error::invalid_argument(message))))
            }
        }
    }
}

impl Server {
    fn of(facts: &HttpFacts) -> Option<Self> {
        let is_secure = match &*facts.scheme {
            "http" => false,
            "https" => true,
            _ => return None,
        };
        let uri = http::uri::Authority::try_from(facts.authority.as_str()).ok()?;
        let host = uri.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return None;
        }
        Some(Self {
            is_secure,
            host: host.to_ascii_lowercase(),
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
        })
    }

    /// Whether it says by itself that it is of this machine or of its network.
    fn is_named_literally(&self) -> bool {
        self.host.parse::<IpAddr>().is_ok() || self.host == "localhost"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_scheme_and_authority() {
        let server = |scheme: &str, authority: &str| {
            Server::of(&HttpFacts {
                scheme: scheme.into(),
                authority: authority.into(),
                ..HttpFacts::default()
            })
        };
        let found = server("https", "API.example.org").expect("a server");
        let expected = Server {
            is_secure: true,
            host: "api.example.org".to_owned(),
            port: 443,
        };
        assert_eq!(found, expected);
        assert!(!found.is_named_literally());
        let found = server("http", "[::1]:8080").expect("a server");
        assert_eq!((&*found.host, found.port), ("::1", 8080));
        assert!(found.is_named_literally());
        assert!(
            server("http", "localhost")
                .expect("a server")
                .is_named_literally()
        );
        // An address in a form that is none to us is a name, and looked up as one.
        assert!(
            !server("http", "2130706433")
                .expect("a server")
                .is_named_literally()
        );
        assert!(server("ftp", "a").is_none() && server("http", "").is_none());
    }

    #[test]
    fn servers_that_are_asked_no_more_are_forgotten() {
        let client = OutgoingClient::new(Arc::default());
        let server = |number: usize| Server {
            is_secure: false,
            host: format!("h{number}"),
            port: 80,
        };
        for number in 0..=SERVERS_MAX {
            client.forwarder(&server(number));
            client.forwarder(&server(0));
        }
        let known = client.0.known.lock();
        assert_eq!(known.forwarders.len(), SERVERS_MAX);
        assert!(known.forwarders.contains_key(&server(0)));
        assert!(!known.forwarders.contains_key(&server(1)));
    }
}
