//! `forwarded` of a listener: whose word counts of where requests come from, and what upstreams are
//! told.

use postern_net::{
    TrustedProxies, TrustedProxy,
    http::{ForwardedConfig, ForwardedForm, ForwardedSend},
};

use super::{
    leaf::{Leaf, word_leaf},
    section::section,
    value::Value,
};

section! {
    /// Proxies in front of a listener.
    pub(crate) struct Forwarded {
        /// Proxies whose word counts: addresses, networks such as "10.0.0.0/8", or "unix" for whoever
        /// connects to a Unix socket. Empty: nobody's. Over VSTP they say it by `proxy-protocol`.
        pub trusted: Vec<TrustedProxy> = Vec::new();
        /// HTTP: where they say for whom they ask: "x-forwarded" in `x-forwarded-for`, `-proto` and `-host`,
        /// "forwarded" in `forwarded` (RFC 7239).
        pub accept: ForwardedName = ForwardedName::XForwarded;
        /// HTTP: what upstreams are told of a request's client: "x-forwarded", "forwarded", "both", or
        /// "none".
        pub send: ForwardedSendName = ForwardedSendName::XForwarded;
    }
}

/// How a proxy says for whom it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardedName {
    XForwarded,
    Forwarded,
}

/// What upstreams are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ForwardedSendName {
    XForwarded,
    Forwarded,
    Both,
    Nothing,
}

word_leaf!(ForwardedName { XForwarded = "x-forwarded", Forwarded = "forwarded" });
word_leaf!(ForwardedSendName {
    XForwarded = "x-forwarded",
    Forwarded = "forwarded",
    Both = "both",
    Nothing = "none",
});

impl Forwarded {
    /// As the listener wants it.
    #[must_use]
    pub(crate) fn to_config(&self) -> ForwardedConfig {
        ForwardedConfig {
            trusted: TrustedProxies(self.trusted.clone()),
            accept: match self.accept {
                ForwardedName::XForwarded => ForwardedForm::XForwarded,
                ForwardedName::Forwarded => ForwardedForm::Forwarded,
            },
            send: match self.send {
                ForwardedSendName::XForwarded => ForwardedSend::XForwarded,
                ForwardedSendName::Forwarded => ForwardedSend::Forwarded,
                ForwardedSendName::Both => ForwardedSend::Both,
                ForwardedSendName::Nothing => ForwardedSend::Nothing,
            },
        }
    }
}

impl Leaf for TrustedProxy {
    fn expected() -> String {
        "an address, a network such as \"10.0.0.0/8\", or \"unix\"".to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = value.as_text();
        let text = text.ok_or_else(|| format!("{} is not an address", value.shown()))?;
        text.parse()
            .map_err(|error: postern_net::TrustedProxyError| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.to_string().written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}
