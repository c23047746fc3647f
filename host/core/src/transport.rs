//! Transports: what carries calls, a line each. The names are those of metrics, logs and addresses; what
//! a gateway can dial is said where it dials.

use std::fmt;

/// Declares `Transport` and its table from one line per transport.
macro_rules! transports {
    ($($(#[doc = $doc:literal])* $variant:ident = $name:literal, $form:ident;)*) => {
        /// What carries a call.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Transport {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Transport {
            /// All, in the order of the table.
            pub const ALL: [Self; [$($name),*].len()] = [$(Self::$variant),*];

            /// As metrics, logs and addresses name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }

            /// How it is addressed.
            #[must_use]
            pub const fn form(self) -> AddressForm {
                match self {
                    $(Self::$variant => AddressForm::$form,)*
                }
            }
        }
    };
}

transports! {
    Tcp = "tcp", HostPort;
    /// TLS over TCP.
    Tls = "tls", HostPort;
    Udp = "udp", HostPort;
    Quic = "quic", HostPort;
    WebSocket = "ws", Url;
    /// WebSocket over TLS.
    SecureWebSocket = "wss", Url;
    Http = "http", HostOrPath;
    Https = "https", HostPort;
    /// gRPC over HTTP/2 by prior knowledge.
    Grpc = "grpc", HostOrPath;
    /// gRPC over TLS.
    Grpcs = "grpcs", HostPort;
    /// Velithon VSP, the protocol of the Python package.
    Velithon = "velithon", HostOrPath;
    /// Velithon VSP over TLS.
    Velithons = "velithons", HostPort;
    /// A socket of the machine.
    Unix = "unix", Path;
    /// In-memory link.
    Memory = "memory", Unaddressed;
    /// A plugin calling through the `client` import.
    Plugin = "plugin", Unaddressed;
}

/// What stands behind `NAME://` in an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressForm {
    /// `host:port`.
    HostPort,
    /// `host:port`, or `host:port/path`.
    Url,
    /// `host:port`, or `unix:` and what a socket of the machine is called.
    HostOrPath,
    /// What a socket of the machine is called: an absolute path, or `@name`.
    Path,
    /// It has no addresses.
    Unaddressed,
}

impl Transport {
    /// The transport called `name`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    /// Those that an address may name.
    pub fn addressed() -> impl Iterator<Item = Self> {
        Self::ALL
            .into_iter()
            .filter(|one| one.form() != AddressForm::Unaddressed)
    }

    /// Whether it carries HTTP.
    #[must_use]
    pub const fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https | Self::Grpc | Self::Grpcs)
    }

    /// Whether it has the ports of datagrams, which those of streams are not.
    #[must_use]
    pub const fn has_datagrams(self) -> bool {
        matches!(self, Self::Udp | Self::Quic)
    }

    /// Where it stands in `ALL`.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// `tcp, udp, unix`, for messages.
#[must_use]
pub fn list(transports: impl IntoIterator<Item = Transport>) -> String {
    let names: Vec<_> = transports.into_iter().map(Transport::name).collect();
    names.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_found_by_its_name_and_at_its_index() {
        for (idx, transport) in Transport::ALL.into_iter().enumerate() {
            assert_eq!(transport.index(), idx);
            assert_eq!(Transport::from_name(transport.name()), Some(transport));
        }
        assert_eq!(Transport::from_name("TCP"), None);
    }

    #[test]
    fn addresses_name_those_that_have_a_place() {
        assert_eq!(
            list(Transport::addressed()),
            "tcp, tls, udp, quic, ws, wss, http, https, grpc, grpcs, velithon, velithons, unix"
        );
    }
}
