//! `[consul]`: services of this gateway that are registered at an agent of Consul.

use std::{collections::BTreeSet, time::Duration};

use super::{
    address::ListenAddress,
    inline::Pairs,
    leaf::{Leaf as _, Secret, word_leaf},
    listener::{Listener, Protocol},
    section::{SectionReader, section},
    settings::Config,
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

/// Adds a fault for each thing that no key can say alone.
pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    let consul = &config.consul;
    let Some(address) = &consul.address else {
        if *consul != Consul::default() {
            let remedy = "add address = \"http://127.0.0.1:8500\", or remove the table";
            reader.fault_of_table("consul", "it means nothing without address", remedy);
        }
        return;
    };
    if !is_agent(address) {
        let message = format!("{address:?} is not the address of an agent");
        let remedy = "write \"http://HOST:PORT\" or \"https://HOST:PORT\"";
        reader.fault_of_key("consul.address", message, remedy);
    }
    if consul.services.is_empty() {
        let remedy = "add services = [\"NAME\"]";
        reader.fault_of_table("consul", "the key \"services\" is missing", remedy);
    }
    let named: BTreeSet<_> = consul.services.iter().collect();
    if let Some(name) = consul.weights.0.keys().find(|name| !named.contains(name)) {
        let message = format!("{name:?} is not among services");
        let remedy = format!("add it to services, or remove it; {}", u32::expected());
        reader.fault_of_key("consul.weights", message, remedy);
    }
    if consul
        .weights
        .0
        .values()
        .any(|weight| !(1..=65535).contains(weight))
    {
        let remedy = "write 1 to 65535";
        reader.fault_of_key("consul.weights", "a weight is out of bounds", remedy);
    }
    match (consul.check, &consul.check_url) {
        (ConsulCheck::Http, None) => {
            let remedy = "add check-url = \"http://HOST:PORT/readyz\"";
            reader.fault_of_key("consul.check", "there is nothing to be asked", remedy);
        }
        (ConsulCheck::Ttl | ConsulCheck::Tcp, Some(_)) => {
            let remedy = "write check = \"http\", or remove it";
            reader.fault_of_key("consul.check-url", "nobody asks it", remedy);
        }
        (ConsulCheck::Http, Some(_)) | (ConsulCheck::Ttl | ConsulCheck::Tcp, None) => {}
    }
    if consul.check == ConsulCheck::Ttl && consul.check_interval >= consul.ttl {
        let message = "the gateway would count as ill before it is heard again";
        reader.fault_of_key("consul.ttl", message, "make it longer than check-interval");
    }
    check_listener(config, reader);
}

fn check_listener(config: &Config, reader: &mut SectionReader) {
    let consul = &config.consul;
    if consul.advertise.is_some() && consul.advertised().is_none() {
        let remedy = "write \"HOST:PORT\"";
        reader.fault_of_key("consul.advertise", "it is no host with a port", remedy);
    }
    let Some(name) = &consul.listener else {
        let remedy = "add listener = \"NAME\", of one with protocol = \"velithon\"";
        reader.fault_of_table("consul", "the key \"listener\" is missing", remedy);
        return;
    };
    let is_open =
        |listener: &&Listener| listener.enabled && listener.protocol == Protocol::Velithon;
    let Some(listener) = config.listeners.get(name).filter(is_open) else {
        let message = format!("no listener called {name:?} speaks velithon");
        let remedy = format!("add [listeners.{name}] with protocol = \"velithon\"");
        reader.fault_of_key("consul.listener", message, remedy);
        return;
    };
    let is_nowhere = match &listener.address {
        ListenAddress::Ip(address) => address.ip().is_unspecified(),
        ListenAddress::Unix(_) => true,
        // What is passed is seen when it is there.
        ListenAddress::Passed(_) => false,
    };
    if is_nowhere && consul.advertise.is_none() {
        let message = format!("{} is an address that nobody connects to", listener.address);
        let remedy = "add advertise = \"HOST:PORT\"";
        reader.fault_of_key("consul.listener", message, remedy);
    }
}

/// `http://HOST:PORT`, or the same with https, and nothing behind it.
fn is_agent(address: &str) -> bool {
    let authority = address
        .strip_prefix("http://")
        .or_else(|| address.strip_prefix("https://"));
    authority.is_some_and(|authority| {
        let authority = authority.strip_suffix('/').unwrap_or(authority);
        !authority.is_empty() && !authority.contains(['/', '?', '#', '@', ' '])
    })
}
