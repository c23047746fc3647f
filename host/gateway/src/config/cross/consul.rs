//! Registration at an agent of Consul: what must be there with what.

use std::collections::BTreeSet;

use crate::config::{
    address::ListenAddress,
    consul::{Consul, ConsulCheck},
    listener::{Listener, Protocol},
    section::SectionReader,
    settings::Config,
};

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
        let remedy = "add it to services, or remove it";
        reader.fault_of_key("consul.weights", message, remedy);
    }
    let mut weights = consul.weights.0.values();
    if weights.any(|weight| !(1..=65535).contains(weight)) {
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
