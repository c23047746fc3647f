//! Who says where a request came from, and what an upstream is told of it. Pure.
//!
//! A proxy in front of this gateway says for whom it asks, in one of two forms; anybody else could say
//! the same. So a claim counts only from an address that is trusted, and only in the form that the
//! proxies there write: one that they pass on unseen is their client's word.
//!
//! | the peer is | claims in the form of `accept` | other claims |
//! | --- | --- | --- |
//! | trusted | count, and go on with this hop added | are left out |
//! | anybody else | are left out | are left out |
//!
//! The client is the last address of the chain that is not itself trusted: what stands before it is its
//! own word.

use std::{
    borrow::Cow,
    fmt::Write as _,
    net::{IpAddr, SocketAddr},
};

use http::{HeaderMap, HeaderName};
use postern_core::Origin;

use crate::TrustedProxies;

/// Whose claims a listener takes, and what upstreams are told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwardedConfig {
    /// Default nobody.
    pub trusted: TrustedProxies,
    /// What proxies write that are trusted.
    pub accept: ForwardedForm,
    pub send: ForwardedSend,
}

/// How a claim is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedForm {
    /// `x-forwarded-for`, `x-forwarded-proto`, `x-forwarded-host`.
    #[default]
    XForwarded,
    /// `forwarded`, RFC 7239.
    Forwarded,
}

/// What upstreams are told of a request's client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ForwardedSend {
    #[default]
    XForwarded,
    Forwarded,
    Both,
    /// Nothing but claims that count.
    Nothing,
}

/// This hop: who asks, and how.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Hop<'a> {
    pub(in crate::http) peer: &'a Origin,
    pub(in crate::http) is_secure: bool,
    /// The host that was asked for; empty where none was.
    pub(in crate::http) host: &'a str,
}

/// What a request says of its way, as far as it counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::http) struct Claims {
    /// Hops before the peer, the first client's first.
    chain: Vec<String>,
    /// Who asked the first proxy that is trusted.
    client: Option<SocketAddr>,
    proto: Option<String>,
    host: Option<String>,
    /// `forwarded` as it was sent.
    raw: Option<String>,
    is_trusted: bool,
}

impl Claims {
    pub(in crate::http) fn read(
        headers: &HeaderMap,
        peer: &Origin,
        config: &ForwardedConfig,
    ) -> Self {
        if !config.trusted.contain(peer) {
            return Self::default();
        }
        let mut claims = match config.accept {
            ForwardedForm::XForwarded => Self::of_x_forwarded(headers),
            ForwardedForm::Forwarded => Self::of_forwarded(headers),
        };
        claims.is_trusted = true;
        for hop in claims.chain.iter().rev() {
            let Some(address) = node_address(hop) else {
                break;
            };
            claims.client = Some(address);
            if !config.trusted.contain_ip(address.ip()) {
                break;
            }
        }
        claims
    }

    /// Who asked the first proxy that is trusted, where a proxy says so.
    pub(in crate::http) const fn client(&self) -> Option<SocketAddr> {
        self.client
    }

    /// Whether a field of a request is a claim that does not count, or one that `fields` writes anew.
    pub(in crate::http) fn replaces(&self, name: &str, config: &ForwardedConfig) -> bool {
        let is_accepted = |form| self.is_trusted && config.accept == form;
        let is_only_passed_on = config.send == ForwardedSend::Nothing;
        match name {
            FORWARDED => !(is_accepted(ForwardedForm::Forwarded) && is_only_passed_on),
            FOR | PROTO | HOST => !(is_accepted(ForwardedForm::XForwarded) && is_only_passed_on),
            name if name.starts_with("x-forwarded-") || name == "x-real-ip" => {
                !is_accepted(ForwardedForm::XForwarded)
            }
            _ => false,
        }
    }

    /// What an upstream is told: fields beside those that are not replaced.
    pub(in crate::http) fn fields<'a>(
        &'a self,
        hop: Hop<'a>,
        config: &ForwardedConfig,
    ) -> Vec<(&'static str, Cow<'a, str>)> {
        let mut fields = Vec::new();
        let own_proto = if hop.is_secure { "https" } else { "http" };
        if config.sends(ForwardedForm::XForwarded) {
            let mut chain = String::with_capacity(ADDRESS_BYTES * (self.chain.len() + 1));
            for node in &self.chain {
                match node_address(node) {
                    Some(address) => push_ip(&mut chain, address.ip()),
                    None => chain.push_str(node),
                }
                chain.push_str(", ");
            }
            push_peer(&mut chain, hop.peer);
            fields.push((FOR, chain.into()));
            let proto = self.proto.as_deref().unwrap_or(own_proto);
            fields.push((PROTO, proto.into()));
            let host = self.host.as_deref().unwrap_or(hop.host);
            if !host.is_empty() {
                fields.push((HOST, host.into()));
            }
        }
        if config.sends(ForwardedForm::Forwarded) {
            let before = match &self.raw {
                Some(raw) => vec![raw.clone()],
                None => self.chain.iter().map(|node| forwarded_for(node)).collect(),
            };
            let mut peer = String::with_capacity(ADDRESS_BYTES);
            push_peer(&mut peer, hop.peer);
            let mut own = forwarded_for(&peer);
            if !hop.host.is_empty() {
                own.push_str(";host=");
                own.push_str(&quoted(hop.host));
            }
            own.push_str(";proto=");
            own.push_str(own_proto);
            let elements: Vec<_> = before.into_iter().chain([own]).collect();
            fields.push((FORWARDED, elements.join(", ").into()));
        }
        fields
    }

    fn of_x_forwarded(headers: &HeaderMap) -> Self {
        let first = |name: &'static str| {
            let values = list(headers, name)?;
            let value = values.split(',').next()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let chain = list(headers, FOR).unwrap_or_default();
        let chain = chain.split(',').map(str::trim);
        Self {
            chain: chain
                .filter(|node| !node.is_empty())
                .map(str::to_owned)
                .collect(),
            proto: first(PROTO),
            host: first(HOST),
            ..Self::default()
        }
    }

    fn of_forwarded(headers: &HeaderMap) -> Self {
        let raw = list(headers, FORWARDED);
        let mut claims = Self::default();
        let elements = raw
            .as_deref()
            .map(|raw| split(raw, ','))
            .unwrap_or_default();
        for (idx, element) in elements.iter().enumerate() {
            let mut node = "unknown".to_owned();
            for pair in split(element, ';') {
                let Some((name, value)) = pair.split_once('=') else {
                    continue;
                };
                let value = unquoted(value.trim());
                match name.trim().to_ascii_lowercase().as_str() {
                    "for" => node = value,
                    "proto" if idx == 0 => claims.proto = Some(value),
                    "host" if idx == 0 => claims.host = Some(value),
                    _ => {}
                }
            }
            claims.chain.push(node);
        }
        claims.raw = raw;
        claims
    }
}

impl ForwardedConfig {
    const fn sends(&self, form: ForwardedForm) -> bool {
        matches!(
            (self.send, form),
            (ForwardedSend::Both, _)
                | (ForwardedSend::XForwarded, ForwardedForm::XForwarded)
                | (ForwardedSend::Forwarded, ForwardedForm::Forwarded)
        )
    }
}

fn push_peer(text: &mut String, peer: &Origin) {
    match peer_ip(peer) {
        Some(ip) => push_ip(text, ip),
        None => text.push_str("unknown"),
    }
}

/// As `Display`, which takes ten times as long for IPv4.
fn push_ip(text: &mut String, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => {
            for (idx, octet) in ip.octets().into_iter().enumerate() {
                if idx > 0 {
                    text.push('.');
                }
                for (unit, at_least) in [(100, 100), (10, 10), (1, 0)] {
                    if octet >= at_least {
                        text.push(char::from(b'0' + octet / unit % 10));
                    }
                }
            }
        }
        // Cannot fail: it is text.
        IpAddr::V6(ip) => drop(write!(text, "{ip}")),
    }
}

fn peer_ip(peer: &Origin) -> Option<IpAddr> {
    peer.ip().map(|ip| ip.to_canonical())
}

/// All values of `name` as one list, which is what several fields of a list mean.
fn list(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let values = headers.get_all(HeaderName::from_static(name)).iter();
    let values: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

/// The address that a node of a chain names, with or without a port: `192.0.2.1`, `192.0.2.1:80`,
/// `2001:db8::1`, `[2001:db8::1]:80`.
fn node_address(node: &str) -> Option<SocketAddr> {
    if let Ok(address) = node.parse() {
        return Some(address);
    }
    let bare = node
        .strip_prefix('[')
        .and_then(|node| node.strip_suffix(']'));
    let ip: IpAddr = bare.unwrap_or(node).parse().ok()?;
    Some(SocketAddr::new(ip, 0))
}

/// `for=` and the node, as RFC 7239 section 6 writes it.
fn forwarded_for(node: &str) -> String {
    match node_address(node).map(|address| address.ip()) {
        Some(IpAddr::V6(ip)) => format!("for=\"[{ip}]\""),
        Some(IpAddr::V4(ip)) => format!("for={ip}"),
        None => format!("for={}", quoted(node)),
    }
}

/// A token as it is, anything else as a quoted string (RFC 9110 section 5.6).
fn quoted(text: &str) -> String {
    let is_token = |octet: u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet);
    if !text.is_empty() && text.bytes().all(is_token) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'));
    let Some(inner) = inner else {
        return text.to_owned();
    };
    let mut plain = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\\' => plain.extend(letters.next()),
            letter => plain.push(letter),
        }
    }
    plain
}

/// The parts of `text` between separators that stand outside of quoted strings.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|letter| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match letter {
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            '"' if !was_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        letter == separator && !is_quoted
    });
    parts
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .collect()
}

/// Octets that most addresses fit in, with what parts them.
const ADDRESS_BYTES: usize = 24;
const FOR: &str = "x-forwarded-for";
const PROTO: &str = "x-forwarded-proto";
const HOST: &str = "x-forwarded-host";
const FORWARDED: &str = "forwarded";

#[cfg(test)]
mod tests;
