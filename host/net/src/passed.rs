//! Sockets that are open before the gateway starts: a service manager listens on them and passes them
//! (systemd.socket(5), sd_listen_fds(3)).
//!
//! They are kept for the life of the process, and each listener is given a copy. So a listener that is
//! closed and opened again by a change of the configuration finds its socket; who connects meanwhile
//! waits in the socket's queue.

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener, UdpSocket},
    os::{fd::AsFd, unix::net::UnixListener},
};

use listenfd::ListenFd;
use socket2::SockRef;
use tokio::net;

use crate::{
    sockets::SocketListener,
    unix::{UnixAddress, UnixSocketListener},
};

/// What a service manager has passed.
#[derive(Debug, Default)]
pub struct PassedSockets {
    sockets: Vec<PassedSocket>,
    /// Why there are none.
    absence: Option<Absence>,
}

#[derive(Debug)]
struct PassedSocket {
    name: String,
    kind: PassedKind,
}

#[derive(Debug)]
enum PassedKind {
    Tcp(TcpListener, SocketAddr),
    Unix(UnixListener, String),
    Udp(UdpSocket, SocketAddr),
    /// A stream that does not listen: one connection, or not yet.
    Idle,
    /// No socket, or of a kind that nothing here serves.
    Other,
}

/// Why nothing was passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Absence {
    #[error("LISTEN_FDS is not set")]
    Unset,
    #[error("LISTEN_FDS is {0:?}, and not a number up to {FDS_MAX}")]
    Number(String),
    #[error("LISTEN_PID is {0:?}, and not that of this process")]
    OtherProcess(String),
}

/// Why a listener has no socket of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PassedError {
    #[error("no socket was passed: {0}")]
    Nothing(String),
    #[error("no socket called {name:?} was passed, but {passed}")]
    Unknown { name: String, passed: String },
    #[error("{name:?} is {found}, and {wanted} is needed")]
    Kind {
        name: String,
        found: String,
        wanted: &'static str,
    },
    #[error("{n} sockets that fit are called {name:?}; give each a name of its own")]
    Several { name: String, n: usize },
}

impl PassedSockets {
    /// Takes what was passed to this process. To be called once, before there are threads.
    #[must_use]
    pub fn from_environment() -> Self {
        let variable =
            |name: &str| std::env::var_os(name).map(|text| text.to_string_lossy().into());
        let names: String = variable("LISTEN_FDNAMES").unwrap_or_default();
        let (count, process): (Option<String>, Option<String>) =
            (variable("LISTEN_FDS"), variable("LISTEN_PID"));
        let Some(count) = count else {
            return Self::absent(Absence::Unset);
        };
        if !count.parse().is_ok_and(|n: usize| n <= FDS_MAX) {
            return Self::absent(Absence::Number(count));
        }
        let mut passed = ListenFd::from_env();
        if passed.len() == 0 && count != "0" {
            return Self::absent(Absence::OtherProcess(process.unwrap_or_default()));
        }
        let mut names = names.split(':');
        let sockets = (0..passed.len()).map(|idx| PassedSocket {
            name: names
                .next()
                .filter(|name| !name.is_empty())
                .unwrap_or(UNNAMED)
                .to_owned(),
            kind: PassedKind::of(&mut passed, idx),
        });
        Self {
            sockets: sockets.collect(),
            absence: None,
        }
    }

    fn absent(absence: Absence) -> Self {
        Self {
            sockets: Vec::new(),
            absence: Some(absence),
        }
    }

    /// The names of all that were passed.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.sockets.iter().map(|socket| socket.name.as_str())
    }

    /// Whether the stream socket called `name` is a Unix socket.
    #[must_use]
    pub fn is_unix(&self, name: &str) -> bool {
        matches!(self.stream_kind(name), Ok(PassedKind::Unix(..)))
    }

    /// The stream socket called `name`. Call it inside a tokio runtime.
    ///
    /// # Errors
    /// Why there is none, or what the operating system says.
    pub fn stream(&self, name: &str) -> io::Result<SocketListener> {
        match self.stream_kind(name).map_err(invalid)? {
            PassedKind::Tcp(listener, _) => {
                let listener = listener.try_clone()?;
                listener.set_nonblocking(true)?;
                Ok(SocketListener::Tcp(net::TcpListener::from_std(listener)?))
            }
            PassedKind::Unix(listener, _) => {
                let listener = UnixSocketListener::on(listener.try_clone()?)?;
                Ok(SocketListener::Unix(listener))
            }
            PassedKind::Udp(..) | PassedKind::Idle | PassedKind::Other => {
                Err(invalid(PassedError::kind(name, "no socket", STREAM)))
            }
        }
    }

    /// The datagram socket called `name`.
    ///
    /// # Errors
    /// Why there is none, or what the operating system says.
    pub fn datagrams(&self, name: &str) -> io::Result<UdpSocket> {
        let is_one = |kind: &PassedKind| matches!(kind, PassedKind::Udp(..));
        match self.one(name, DATAGRAMS, is_one).map_err(invalid)? {
            PassedKind::Udp(socket, _) => socket.try_clone(),
            PassedKind::Tcp(..) | PassedKind::Unix(..) | PassedKind::Idle | PassedKind::Other => {
                Err(invalid(PassedError::kind(name, "no socket", DATAGRAMS)))
            }
        }
    }

    fn stream_kind(&self, name: &str) -> Result<&PassedKind, PassedError> {
        self.one(name, STREAM, |kind| {
            matches!(kind, PassedKind::Tcp(..) | PassedKind::Unix(..))
        })
    }

    /// The only socket called `name` that is as `is_wanted` says.
    fn one(
        &self,
        name: &str,
        wanted: &'static str,
        is_wanted: impl Fn(&PassedKind) -> bool,
    ) -> Result<&PassedKind, PassedError> {
        if let Some(absence) = &self.absence {
            return Err(PassedError::Nothing(absence.to_string()));
        }
        let called = || self.sockets.iter().filter(|socket| socket.name == name);
        let mut fitting = called().filter(|socket| is_wanted(&socket.kind));
        match (fitting.next(), fitting.count(), called().next()) {
            (Some(socket), 0, _) => Ok(&socket.kind),
            (Some(_), n_more, _) => Err(PassedError::Several {
                name: name.to_owned(),
                n: n_more + 1,
            }),
            (None, _, Some(other)) => Err(PassedError::kind(name, &other.kind.to_string(), wanted)),
            (None, _, None) => {
                let passed: Vec<_> = self.sockets.iter().map(ToString::to_string).collect();
                Err(PassedError::Unknown {
                    name: name.to_owned(),
                    passed: match passed.is_empty() {
                        true => "none at all".to_owned(),
                        false => passed.join(", "),
                    },
                })
            }
        }
    }
}

impl PassedKind {
    /// What is at `idx`; what cannot be served is left open and unused.
    fn of(passed: &mut ListenFd, idx: usize) -> Self {
        if let Ok(Some(listener)) = passed.take_tcp_listener(idx) {
            return match listener.local_addr() {
                Ok(address) if listens(&listener) => Self::Tcp(listener, address),
                Ok(_) | Err(_) => Self::Idle,
            };
        }
        if let Ok(Some(listener)) = passed.take_unix_listener(idx) {
            let address = SockRef::from(&listener).local_addr();
            let address = address.map(|address| UnixAddress::of(&address));
            return match address {
                Ok(address) if listens(&listener) => {
                    let path = address.map(|address| address.to_string());
                    Self::Unix(listener, path.unwrap_or_default())
                }
                Ok(_) | Err(_) => Self::Idle,
            };
        }
        match passed.take_udp_socket(idx) {
            Ok(Some(socket)) => match socket.local_addr() {
                Ok(address) => Self::Udp(socket, address),
                Err(_) => Self::Other,
            },
            Ok(None) | Err(_) => Self::Other,
        }
    }
}

impl PassedError {
    fn kind(name: &str, found: &str, wanted: &'static str) -> Self {
        Self::Kind {
            name: name.to_owned(),
            found: found.to_owned(),
            wanted,
        }
    }
}

impl fmt::Display for PassedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}, {}", self.name, self.kind)
    }
}

impl fmt::Display for PassedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(_, address) => write!(f, "a TCP socket at {address}"),
            Self::Unix(_, path) => write!(f, "a Unix socket at {path}"),
            Self::Udp(_, address) => write!(f, "a UDP socket at {address}"),
            Self::Idle => f.write_str("a stream that does not listen"),
            Self::Other => f.write_str("something that is not served"),
        }
    }
}

fn listens(socket: &impl AsFd) -> bool {
    SockRef::from(socket).is_listener().unwrap_or(false)
}

fn invalid(error: PassedError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

/// More than a service manager passes to anybody.
const FDS_MAX: usize = 1024;
/// What sd_listen_fds_with_names(3) calls those without a name.
const UNNAMED: &str = "unknown";
const STREAM: &str = "a stream socket that listens (ListenStream=, Accept=no)";
const DATAGRAMS: &str = "a UDP socket (ListenDatagram=)";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LocalAddress;

    fn tcp() -> (PassedKind, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound");
        (PassedKind::Tcp(listener, address), address)
    }

    fn udp() -> PassedKind {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a free port");
        let address = socket.local_addr().expect("bound");
        PassedKind::Udp(socket, address)
    }

    fn passed(sockets: Vec<(&str, PassedKind)>) -> PassedSockets {
        let sockets = sockets.into_iter().map(|(name, kind)| PassedSocket {
            name: name.to_owned(),
            kind,
        });
        PassedSockets {
            sockets: sockets.collect(),
            absence: None,
        }
    }

    #[tokio::test]
    async fn one_name_may_stand_for_a_socket_of_each_kind() {
        let (kind, address) = tcp();
        let sockets = passed(vec![("vstp", kind), ("vstp", udp())]);
        assert!(!sockets.is_unix("vstp"));
        let first = sockets.stream("vstp").expect("a copy");
        let second = sockets.stream("vstp").expect("another");
        drop(first);
        assert_eq!(second.local_addr().ok(), Some(LocalAddress::Ip(address)));
        assert!(sockets.datagrams("vstp").is_ok());
    }

    #[test]
    fn what_does_not_fit_is_refused_by_its_name() {
        let (kind, address) = tcp();
        let (one, two) = (tcp().0, tcp().0);
        let sockets = passed(vec![
            ("http", kind),
            ("odd", PassedKind::Idle),
            ("two", one),
            ("two", two),
        ]);
        let told = |result: io::Result<UdpSocket>| result.expect_err("refused").to_string();
        assert_eq!(
            told(sockets.datagrams("http")),
            format!("\"http\" is a TCP socket at {address}, and {DATAGRAMS} is needed")
        );
        let told = |name| sockets.stream(name).expect_err("refused").to_string();
        assert_eq!(
            told("odd"),
            format!("\"odd\" is a stream that does not listen, and {STREAM} is needed")
        );
        assert_eq!(
            told("two"),
            "2 sockets that fit are called \"two\"; give each a name of its own"
        );
        let other = told("other");
        let expected = format!(
            "no socket called \"other\" was passed, but \"http\", a TCP socket at {address}, "
        );
        assert!(other.starts_with(&expected), "{other}");
    }

    #[test]
    fn where_nothing_was_passed_the_reason_is_told() {
        for (absence, expected) in [
            (Absence::Unset, "LISTEN_FDS is not set"),
            (
                Absence::Number("-1".to_owned()),
                "LISTEN_FDS is \"-1\", and not a number up to 1024",
            ),
            (
                Absence::OtherProcess("7".to_owned()),
                "LISTEN_PID is \"7\", and not that of this process",
            ),
        ] {
            let refused = PassedSockets::absent(absence).stream("http");
            let refused = refused.expect_err("nothing").to_string();
            assert_eq!(refused, format!("no socket was passed: {expected}"));
        }
    }
}
