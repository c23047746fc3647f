//! `[consul]`: services of this gateway that are registered at an agent of Consul.

use std::time::Duration;

use super::{
    inline::Pairs,
    leaf::{Secret, word_leaf},
    section::section,
};

section! {
    /// Registration of services at an agent of Consul, in the form that velithon's discovery reads.
    pub(crate) struct Consul {
        /// Where the agent is: "http://127.0.0.1:8500" or "https://HOST:8501". Without it nothing is
        /// registered. TLS is that of `[upstream-tls]`.
        pub address: Option<String> = None;
        /// Sent as `x-consul-token`: for an agent that asks for one. It needs `service:write`.
        pub token: Option<Secret> = None;
        /// Services that are registered while somebody here can answer for them. Needed.
        pub services: Vec<String> = Vec::new();
        /// Listener whose address is registered: one that speaks velithon. Needed.
        pub listener: Option<String> = None;
        /// Address in the place of the listener's, as "HOST:PORT": where it listens on every address, on a
        /// Unix socket, or behind something. Velithon's own client connects to the address of the agent's
        /// node, and only the port is taken from here.
        pub advertise: Option<String> = None;
        /// Tag `weight=W`, a whole number: velithon's client takes the heaviest instance where it is told
        /// to weigh.
        pub weight: u32 = 1, within "1" to "65535";
        /// The same by service, as in { users = 3 }.
        pub weights: Pairs<u32> = Pairs::default();
        /// How the agent knows that the gateway is well: "ttl" it is told by the gateway, "tcp" it connects
        /// to the address that is registered, "http" it asks `check-url`.
        pub check: ConsulCheck = ConsulCheck::Ttl;
        /// For check = "http": what is asked, such as "http://127.0.0.1:9900/readyz". An answer of 2xx is
        /// well.
        pub check_url: Option<String> = None;
        /// How often the agent checks, is told, and is asked whether it still knows the services. One that
        /// has forgotten them is told again.
        pub check_interval: Duration = Duration::from_secs(10), within "100ms" to "1h";
        /// For check = "ttl": time after which a gateway that has said nothing counts as ill.
        pub ttl: Duration = Duration::from_secs(30), within "1s" to "24h";
        /// Time after which the agent itself removes what is ill. Consul takes no less than 1m.
        pub deregister_after: Duration = Duration::from_secs(600), within "1m" to "720h";
        /// Time for an answer of the agent.
        pub timeout: Duration = Duration::from_secs(5), within "10ms" to "1m";
    }
}

/// How an agent knows that what is registered is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConsulCheck {
    Ttl,
    Tcp,
    Http,
}

word_leaf!(ConsulCheck { Ttl = "ttl", Tcp = "tcp", Http = "http" });

impl Consul {
    /// Host and port of `advertise`; IPv6 without brackets.
    #[must_use]
    pub(crate) fn advertised(&self) -> Option<(String, u16)> {
        let (host, port) = self.advertise.as_deref()?.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0)?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        (!host.is_empty()).then(|| (host.to_owned(), port))
    }

    /// The weight of `service`.
    #[must_use]
    pub(crate) fn weight_of(&self, service: &str) -> u32 {
        let own = self.weights.0.get(service);
        own.copied().unwrap_or(self.weight)
    }
}
