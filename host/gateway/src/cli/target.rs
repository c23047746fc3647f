//! Where a call goes: a transport's name means the configured listener, a URL says it all. What there
//! is to name is the table of what the gateway dials.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use postern_core::{
    Handler, Transport,
    transport::{AddressForm, list},
};
use postern_net::{
    Client, ClientConfig, UnixAddress,
    dial::{self, Dial},
    http::HttpClientConfig,
};

use super::{failure::CommandFailure, options::SharedOptions, output::Output};
use crate::{
    certificates,
    config::{
        Config, ListenAddress, Listener, ListenerTransport, Protocol, WebSocketPath,
        tls::UpstreamTls,
    },
};

/// How, and to which `host:port` or path.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct CallTarget {
    pub transport: Transport,
    pub authority: String,
    /// How whoever is there is verified, as the configuration says.
    pub tls: UpstreamTls,
}

/// As it was written, not looked up yet.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WrittenTarget {
    Named(Transport),
    Url(CallTarget),
}

/// What a call is made with.
pub(super) enum Caller {
    Session(Client),
    Requests(Arc<dyn Handler>),
}

impl std::str::FromStr for WrittenTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // As the configuration writes a socket of this machine, and as URLs do.
        let socket = text
            .strip_prefix("unix:")
            .filter(|rest| !rest.starts_with("//"));
        let (scheme, rest) = match (socket, text.split_once("://")) {
            (Some(path), _) => (Transport::Unix.name(), Some(path)),
            (None, Some((scheme, rest))) => (scheme, Some(rest)),
            (None, None) => (text, None),
        };
        let transport = match scheme.strip_prefix("vstp") {
            Some("") if rest.is_some() => Some(Transport::Tcp),
            Some(named) if rest.is_some() => named
                .strip_prefix('+')
                .and_then(Transport::from_name)
                .filter(|transport| dial::dialer(*transport).is_ok()),
            _ => Transport::from_name(scheme),
        };
        let transport = transport.ok_or_else(expected)?;
        if dial::find(transport).is_none() {
            let dialled = list(dial::all());
            return Err(format!(
                "{transport} is not dialled from here; {dialled} are"
            ));
        }
        let Some(rest) = rest else {
            return Ok(Self::Named(transport));
        };
        let authority = match transport.form() {
            AddressForm::Path => rest,
            AddressForm::HostOrPath if socket_of(rest).is_some() => rest,
            AddressForm::HostPort
            | AddressForm::HostOrPath
            | AddressForm::Url
            | AddressForm::Unaddressed => rest.trim_end_matches('/'),
        };
        if !is_authority(authority, transport.form()) {
            return Err(format!("{text:?} does not end with {}", shape(transport)));
        }
        Ok(Self::Url(CallTarget {
            transport,
            authority: authority.to_owned(),
            tls: UpstreamTls::default(),
        }))
    }
}

impl WrittenTarget {
    /// The configuration, where it says anything about this target: where a name leads, and who is
    /// believed over TLS. Otherwise a broken one does not matter.
    pub(super) fn configuration(
        &self,
        options: &SharedOptions,
        output: &Output,
    ) -> Result<Config, CommandFailure> {
        let tls = [
            Transport::Tls,
            Transport::Quic,
            Transport::SecureWebSocket,
            Transport::Https,
            Transport::Grpcs,
            Transport::Velithons,
        ];
        match self {
            Self::Url(target) if !tls.contains(&target.transport) => Ok(Config::default()),
            Self::Named(_) | Self::Url(_) => Ok(options.load(&[], output)?.config),
        }
    }

    /// The listener that the configuration opens for a transport that is only named.
    pub(super) fn resolve(self, config: &Config) -> Result<CallTarget, CommandFailure> {
        let transport = match self {
            Self::Url(target) => {
                let tls = config.upstream_tls.clone();
                return Ok(CallTarget { tls, ..target });
            }
            Self::Named(transport) => transport,
        };
        let mut listeners = config
            .listeners
            .values()
            .filter(|listener| listener.enabled);
        let Some(listener) = listeners.find(|listener| accepts(listener, transport)) else {
            let message = format!("the configuration opens no listener for {transport}");
            let remedy = format!("name it: --transport {}", url(transport));
            return Err(CommandFailure::new(message).with_remedy(remedy));
        };
        let authority = match &listener.address {
            ListenAddress::Ip(address) => reached_at(*address).to_string(),
            address @ ListenAddress::Unix(_) if transport.form() == AddressForm::HostOrPath => {
                address.to_string()
            }
            ListenAddress::Unix(address) => address.to_string(),
            ListenAddress::Passed(name) => {
                let message = format!("only systemd knows where the socket {name:?} is");
                let remedy = format!("name it: --transport {}", url(transport));
                return Err(CommandFailure::new(message).with_remedy(remedy));
            }
        };
        Ok(CallTarget {
            transport,
            authority,
            tls: config.upstream_tls.clone(),
        })
    }
}

impl CallTarget {
    /// Opens what a call is made with; a call over requests may take `timeout`, and so may the
    /// opening of a session, but not longer than usual.
    pub(super) async fn open(&self, timeout: Option<Duration>) -> Result<Caller, CommandFailure> {
        let tls = certificates::client(&self.tls);
        let tls = tls.map_err(|error| CommandFailure::new(error.to_string()))?;
        let mut config = ClientConfig {
            tls: Arc::new(tls),
            ..ClientConfig::default()
        };
        if let Some(timeout) = timeout {
            config.call_timeout = timeout;
            config.connect_timeout = config.connect_timeout.min(timeout);
        }
        if let Some(Dial::Requests(open)) = dial::find(self.transport) {
            let config = HttpClientConfig {
                call_timeout: config.call_timeout,
                tls: config.tls,
                ..HttpClientConfig::default()
            };
            let handler = open(&self.authority, config);
            let handler =
                handler.map_err(|error| CommandFailure::usage(error.message.to_string()))?;
            return Ok(Caller::Requests(handler));
        }
        let targets = dial::targets(self.transport, &self.authority).await;
        let targets = targets.map_err(|error| CommandFailure::new(error.message.to_string()))?;
        // The name service gives the preferred one first.
        let Some(target) = targets.into_iter().next() else {
            return Err(CommandFailure::new(format!(
                "{} has no address",
                self.authority
            )));
        };
        let client = Client::connect(target, config).await;
        let client = client.map_err(|error| CommandFailure::call(&error))?;
        Ok(Caller::Session(client))
    }
}

/// The first address of a `host:port`, for what is no call.
pub(super) async fn look_up(authority: &str) -> Result<SocketAddr, CommandFailure> {
    let unknown = |reason: &dyn fmt::Display| {
        CommandFailure::new(format!("{authority} has no address: {reason}"))
    };
    let mut addresses = tokio::net::lookup_host(authority)
        .await
        .map_err(|error| unknown(&error))?;
    addresses
        .next()
        .ok_or_else(|| unknown(&"the name is not known"))
}

/// Where this machine reaches what listens at `address`.
fn reached_at(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        let local = match address {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        };
        address.set_ip(local);
    }
    address
}

/// Whether calls over `transport` come in at `listener`.
fn accepts(listener: &Listener, transport: Transport) -> bool {
    if let ListenAddress::Unix(_) = listener.address {
        return match listener.protocol {
            Protocol::Vstp => transport == Transport::Unix,
            // WebSockets are dialled at addresses with a port, and TLS needs the name of a host.
            Protocol::Http => {
                matches!(transport, Transport::Http | Transport::Grpc) && !listener.tls.is_on()
            }
            Protocol::Grpc => transport == Transport::Grpc && !listener.tls.is_on(),
            // Commands do not speak it.
            Protocol::Mqtt | Protocol::Redis => false,
            Protocol::Velithon => transport == Transport::Velithon,
        };
    }
    let has_sessions = listener.websocket.paths.contains(&WebSocketPath::Sessions);
    match listener.protocol {
        Protocol::Http if transport == Transport::WebSocket => {
            has_sessions && !listener.tls.is_on()
        }
        Protocol::Http if transport == Transport::SecureWebSocket => {
            has_sessions && listener.tls.is_on()
        }
        Protocol::Http if listener.tls.is_on() => {
            matches!(transport, Transport::Https | Transport::Grpcs)
        }
        Protocol::Http => matches!(transport, Transport::Http | Transport::Grpc),
        Protocol::Grpc if listener.tls.is_on() => transport == Transport::Grpcs,
        Protocol::Grpc => transport == Transport::Grpc,
        Protocol::Mqtt | Protocol::Redis => false,
        Protocol::Velithon if listener.tls.is_on() => transport == Transport::Velithons,
        Protocol::Velithon => transport == Transport::Velithon,
        Protocol::Vstp if transport == Transport::Tls => {
            listener.tls.is_on()
                && listener
                    .transports
                    .contains(&ListenerTransport(Transport::Tcp))
        }
        Protocol::Vstp if transport == Transport::Tcp && listener.tls.is_on() => false,
        Protocol::Vstp => {
            let mut transports = listener.transports.iter();
            transports.any(|one| one.0 == transport)
        }
    }
}

fn is_authority(text: &str, form: AddressForm) -> bool {
    match form {
        AddressForm::Path => text.parse::<UnixAddress>().is_ok(),
        AddressForm::Url => {
            let authority = text.split('/').next().unwrap_or_default();
            is_authority(authority, AddressForm::HostPort)
        }
        AddressForm::HostOrPath if socket_of(text).is_some() => {
            socket_of(text).is_some_and(|socket| is_authority(socket, AddressForm::Path))
        }
        AddressForm::HostPort | AddressForm::HostOrPath | AddressForm::Unaddressed => {
            let has_port = text.rsplit_once(':').is_some_and(|(host, port)| {
                !host.is_empty() && !port.is_empty() && port.chars().all(|c| c.is_ascii_digit())
            });
            has_port && !text.contains('/')
        }
    }
}

/// What a socket of this machine is called where a host might stand: `unix:/PATH`, `unix:@NAME`.
fn socket_of(text: &str) -> Option<&str> {
    let socket = text.strip_prefix("unix:")?;
    socket.starts_with(['/', '@']).then_some(socket)
}

/// What `--transport` takes, for its help.
pub(super) fn help() -> String {
    let names = list(dial::all());
    let urls: Vec<_> = dial::all().map(url).collect();
    let urls = urls.join(", ");
    format!("{names} at the configured address, or {urls}")
}

fn expected() -> String {
    let urls: Vec<_> = dial::all().map(url).collect();
    format!("write {}, or a URL: {}", list(dial::all()), urls.join(", "))
}

/// How a target over `transport` is written.
fn url(transport: Transport) -> String {
    let shape = shape(transport);
    match dial::dialer(transport) {
        Ok(_) if transport == Transport::Tcp => format!("vstp://{shape}"),
        Ok(_) => format!("vstp+{transport}://{shape}"),
        Err(_) => format!("{transport}://{shape}"),
    }
}

fn shape(transport: Transport) -> &'static str {
    match transport.form() {
        AddressForm::Path => "/PATH",
        AddressForm::Url => "HOST:PORT[/PATH]",
        AddressForm::HostPort | AddressForm::HostOrPath | AddressForm::Unaddressed => "HOST:PORT",
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Session(_) => "Session",
            Self::Requests(_) => "Requests",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(transport: Transport, authority: &str) -> WrittenTarget {
        WrittenTarget::Url(CallTarget {
            transport,
            authority: authority.to_owned(),
            tls: UpstreamTls::default(),
        })
    }

    #[test]
    fn reads_names_and_urls() {
        let check =
            |text: &str, expected: WrittenTarget| assert_eq!(text.parse(), Ok(expected), "{text}");
        check("udp", WrittenTarget::Named(Transport::Udp));
        check(
            "vstp://localhost:9090",
            to(Transport::Tcp, "localhost:9090"),
        );
        check("vstp+udp://[::1]:9090", to(Transport::Udp, "[::1]:9090"));
        check(
            "http://127.0.0.1:8080/",
            to(Transport::Http, "127.0.0.1:8080"),
        );
        check(
            "http://unix:/run/a.sock",
            to(Transport::Http, "unix:/run/a.sock"),
        );
        check("http://unix:@a", to(Transport::Http, "unix:@a"));
        check("http://unix:8080", to(Transport::Http, "unix:8080"));
        check("unix:///run/a.sock", to(Transport::Unix, "/run/a.sock"));
        check("vstp+unix:///a", to(Transport::Unix, "/a"));
        check("unix:/run/a.sock", to(Transport::Unix, "/run/a.sock"));
        check("unix:@a", to(Transport::Unix, "@a"));
        check("ws", WrittenTarget::Named(Transport::WebSocket));
        check("ws://a:1/", to(Transport::WebSocket, "a:1"));
        check("wss://a:1/x/y", to(Transport::SecureWebSocket, "a:1/x/y"));
        for text in [
            "",
            "ws://a",
            "ws:///x",
            "ftp://a:1",
            "vstp",
            "vstp+http://a:1",
            "plugin",
            "unix://run/a.sock",
            "unix:///run/",
            "unix:run/a.sock",
            "unix:",
            "vstp://a",
            "vstp://:1",
            "vstp://a:b",
            "http://a:1/x",
            "http://unix:a",
            "http://unix:/run/",
            "https://unix:/run/a.sock",
        ] {
            assert!(text.parse::<WrittenTarget>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_what_there_is() {
        let refused = |text: &str| text.parse::<WrittenTarget>().expect_err(text);
        assert_eq!(
            refused("carrier://a:1"),
            "write tcp, tls, udp, quic, ws, wss, unix, http, https, grpc, grpcs, velithon, velithons, or a URL: vstp://HOST:PORT, \
             vstp+tls://HOST:PORT, vstp+udp://HOST:PORT, vstp+quic://HOST:PORT, \
             vstp+ws://HOST:PORT[/PATH], vstp+wss://HOST:PORT[/PATH], vstp+unix:///PATH, \
             http://HOST:PORT, https://HOST:PORT, grpc://HOST:PORT, grpcs://HOST:PORT, \
             velithon://HOST:PORT, velithons://HOST:PORT"
        );
        let unaddressed = "write tcp, tls, udp, quic, ws, wss, unix, http, https, grpc, grpcs, velithon, velithons, or a URL: ";
        assert!(refused("carrier").starts_with(unaddressed));
        let expected = "\"unix://run\" does not end with /PATH";
        assert_eq!(refused("unix://run"), expected);
    }

    #[test]
    fn a_name_means_the_configured_listener() {
        let mut config = Config::default();
        let resolve = |transport, config: &Config| {
            WrittenTarget::Named(transport)
                .resolve(config)
                .map(|target| target.authority)
                .ok()
        };
        assert_eq!(
            resolve(Transport::Udp, &config).as_deref(),
            Some("127.0.0.1:9090")
        );
        let vstp = config.listeners.get_mut("vstp").expect("built in");
        let any: SocketAddr = "0.0.0.0:7000".parse().expect("an address");
        vstp.address = any.into();
        vstp.transports = vec![ListenerTransport(Transport::Tcp)];
        assert_eq!(
            resolve(Transport::Tcp, &config).as_deref(),
            Some("127.0.0.1:7000")
        );
        assert_eq!(resolve(Transport::Udp, &config), None);
        let vstp = config.listeners.get_mut("vstp").expect("built in");
        let path = "/run/a.sock".parse().expect("a path");
        vstp.address = ListenAddress::Unix(path);
        assert_eq!(resolve(Transport::Tcp, &config), None);
        assert_eq!(
            resolve(Transport::Unix, &config).as_deref(),
            Some("/run/a.sock")
        );
        let vstp = config.listeners.get_mut("vstp").expect("built in");
        vstp.address = ListenAddress::Passed("vstp".to_owned());
        assert_eq!(resolve(Transport::Tcp, &config), None);
        let http = Some("127.0.0.1:8080");
        assert_eq!(resolve(Transport::WebSocket, &config).as_deref(), http);
        assert_eq!(resolve(Transport::SecureWebSocket, &config), None);
        let listener = config.listeners.get_mut("http").expect("built in");
        listener.websocket.paths.clear();
        assert_eq!(resolve(Transport::WebSocket, &config), None);
        let listener = config.listeners.get_mut("http").expect("built in");
        listener.address = ListenAddress::Unix("@http".parse().expect("a name"));
        assert_eq!(
            resolve(Transport::Http, &config).as_deref(),
            Some("unix:@http")
        );
        assert_eq!(resolve(Transport::WebSocket, &config), None);
    }
}
