//! `[channels.NAME]`: one name for several brokers of others, of which one carries at a time.

use std::time::Duration;

use postern_core::channel::{ChannelDelivery, ChannelQueueBounds, FailoverConfig};

use super::{
    broker_url::{BrokerUrl, ChannelMember},
    events::Topics,
    leaf::{Secret, word_leaf},
    named::Named,
    section::section,
};

section! {
    /// A channel: events and calls over the first of several brokers that works.
    pub(crate) struct ChannelSettings {
        /// Topics that go out over it and come in over it, such as "orders.>".
        pub topics: Vec<Topics> = Vec::new();
        /// What is spoken, in the order of preference: "redis" is the one table [stores.NAME] that is a
        /// Redis, "mqtt" the one table [bridges.NAME], "websocket" and "vstp" what is at `url`.
        pub protocols: Vec<ChannelProtocol> = Vec::new();
        /// The same where there are several of a kind: { store = "NAME" }, { bridge = "NAME" } or
        /// { url = "wss://HOST/PATH" }, with `topic` where plain JSON values of one topic are spoken there.
        pub via: Vec<ChannelMember> = Vec::new();
        /// Where "websocket" of `protocols` leads, "ws://HOST:PORT" or "wss://HOST:PORT", or "vstp",
        /// "vstp://HOST:PORT" or "vstp+tls://HOST:PORT".
        pub url: Option<BrokerUrl> = None;
        /// Shown to whoever is at a URL, as `authorization: Bearer TOKEN`.
        pub token: Option<Secret> = None;
        /// "both", or "out" or "in" alone.
        pub direction: ChannelDirection = ChannelDirection::Both;
        /// "at-least-once": a publisher is answered when a broker has acknowledged the event, which is sent
        /// again until one has. "at-most-once": nobody waits, and nothing is sent twice.
        pub delivery: ChannelDeliveryWord = ChannelDeliveryWord::AtMostOnce;
        /// How long the broker that carries may be away, or leave an event without an answer, before the
        /// next one carries.
        pub failover_after: Duration = Duration::from_secs(1), within "10ms" to "10m";
        /// How long a better broker must have been well before it carries again.
        pub return_after: Duration = Duration::from_secs(10), within "10ms" to "24h";
        /// How long a publisher waits at most while no broker takes its event; with "at-least-once".
        pub publish_timeout: Duration = Duration::from_secs(30), within "10ms" to "24h";
        /// Events that were sent and are not acknowledged.
        pub in_flight_max: usize = 64, within "1" to "10000";
        /// Events that wait to be sent; one more is refused, or lost where nobody waits for it.
        pub queue_max: usize = 1024, within "1" to "1000000";
        /// Ids of events that came in, kept to know those that come again; 0 keeps none.
        pub duplicates_max: usize = 8192, within "0" to "1000000";
        /// How long such an id is kept.
        pub duplicates_age: Duration = Duration::from_secs(60), within "1s" to "1h";
        /// Services whose calls go out over it.
        pub services: Vec<String> = Vec::new();
    }
}

/// What is spoken with a broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelProtocol {
    Redis,
    Mqtt,
    WebSocket,
    Vstp,
}

/// Which events a channel carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelDirection {
    Both,
    Out,
    In,
}

/// What becomes of an event of which nobody knows whether it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChannelDeliveryWord {
    AtMostOnce,
    AtLeastOnce,
}

word_leaf!(ChannelProtocol {
    Redis = "redis",
    Mqtt = "mqtt",
    WebSocket = "websocket",
    Vstp = "vstp",
});
word_leaf!(ChannelDirection { Both = "both", Out = "out", In = "in" });
word_leaf!(ChannelDeliveryWord {
    AtMostOnce = "at-most-once",
    AtLeastOnce = "at-least-once",
});

/// Why a channel has no brokers, or not those that are written: the key below it, what is wrong, and what
/// to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MemberFault {
    pub key: &'static str,
    pub message: String,
    pub remedy: String,
}

impl Named for ChannelSettings {}

impl ChannelSettings {
    #[must_use]
    pub(crate) fn failover(&self) -> FailoverConfig {
        FailoverConfig {
            failover_after: self.failover_after,
            return_after: self.return_after,
        }
    }

    #[must_use]
    pub(crate) fn queue(&self) -> ChannelQueueBounds {
        ChannelQueueBounds {
            in_flight_max: self.in_flight_max,
            waiting_max: self.queue_max,
        }
    }

    #[must_use]
    pub(crate) fn core_delivery(&self) -> ChannelDelivery {
        match self.delivery {
            ChannelDeliveryWord::AtMostOnce => ChannelDelivery::AtMostOnce,
            ChannelDeliveryWord::AtLeastOnce => ChannelDelivery::AtLeastOnce,
        }
    }

    #[must_use]
    pub(crate) fn goes_out(&self) -> bool {
        self.direction != ChannelDirection::In
    }

    #[must_use]
    pub(crate) fn comes_in(&self) -> bool {
        self.direction != ChannelDirection::Out
    }

    /// Its brokers in the order of preference. `stores` are the names of what is a Redis, `bridges` those of
    /// what is MQTT.
    ///
    /// # Errors
    /// The first that is not there, or could be several.
    pub(crate) fn members(
        &self,
        stores: &[&str],
        bridges: &[&str],
    ) -> Result<Vec<ChannelMember>, MemberFault> {
        let members = match (self.protocols.is_empty(), self.via.is_empty()) {
            (true, true) => {
                return Err(MemberFault {
                    key: "protocols",
                    message: "no broker is named".to_owned(),
                    remedy: "write protocols = [\"redis\", \"mqtt\"], or via".to_owned(),
                });
            }
            (false, false) => {
                return Err(MemberFault {
                    key: "via",
                    message: "protocols and via both say which brokers there are".to_owned(),
                    remedy: "remove one of the two".to_owned(),
                });
            }
            (false, true) => {
                let protocols = self.protocols.iter();
                let members = protocols.map(|protocol| self.member(*protocol, stores, bridges));
                members.collect::<Result<Vec<_>, _>>()?
            }
            (true, false) => self.via.clone(),
        };
        for (at, member) in members.iter().enumerate() {
            check_member(member, stores, bridges)?;
            if members.iter().take(at).any(|before| before == member) {
                return Err(MemberFault {
                    key: if self.via.is_empty() {
                        "protocols"
                    } else {
                        "via"
                    },
                    message: format!("{member} is named twice"),
                    remedy: "name each broker once".to_owned(),
                });
            }
        }
        Ok(members)
    }

    fn member(
        &self,
        protocol: ChannelProtocol,
        stores: &[&str],
        bridges: &[&str],
    ) -> Result<ChannelMember, MemberFault> {
        match protocol {
            ChannelProtocol::Redis => {
                let store = only(stores, "[stores.NAME] that is a Redis", "store")?;
                Ok(ChannelMember::Store(store))
            }
            ChannelProtocol::Mqtt => {
                let bridge = only(bridges, "[bridges.NAME]", "bridge")?;
                Ok(ChannelMember::Bridge(bridge))
            }
            ChannelProtocol::WebSocket | ChannelProtocol::Vstp => {
                let fits =
                    |url: &&BrokerUrl| url.is_session() == (protocol == ChannelProtocol::Vstp);
                let url = self.url.as_ref().filter(fits).cloned();
                let url = url.ok_or_else(|| MemberFault {
                    key: "url",
                    message: format!("{:?} needs a URL of its kind", protocol.name()),
                    remedy: match protocol {
                        ChannelProtocol::Vstp => "write url = \"vstp://HOST:PORT\"".to_owned(),
                        ChannelProtocol::WebSocket
                        | ChannelProtocol::Redis
                        | ChannelProtocol::Mqtt => "write url = \"wss://HOST/PATH\"".to_owned(),
                    },
                })?;
                Ok(ChannelMember::Url { url, topic: None })
            }
        }
    }
}

/// The one of its kind.
fn only(names: &[&str], what: &str, key: &str) -> Result<String, MemberFault> {
    match names {
        [name] => Ok((*name).to_owned()),
        [] => Err(MemberFault {
            key: "protocols",
            message: format!("there is no table {what}"),
            remedy: "write one".to_owned(),
        }),
        several => Err(MemberFault {
            key: "protocols",
            message: format!("there are several tables {what}: {}", several.join(", ")),
            remedy: format!("write via = [{{ {key} = \"NAME\" }}] in the place of protocols"),
        }),
    }
}

fn check_member(
    member: &ChannelMember,
    stores: &[&str],
    bridges: &[&str],
) -> Result<(), MemberFault> {
    let (name, known, what) = match member {
        ChannelMember::Store(name) => (name, stores, "store of Redis"),
        ChannelMember::Bridge(name) => (name, bridges, "bridge"),
        ChannelMember::Url { url, topic } => {
            return match topic.is_some() && url.is_session() {
                true => Err(MemberFault {
                    key: "via",
                    message: format!("{member} has a topic, which only ws and wss have"),
                    remedy: "remove topic: a session says the topic of each event".to_owned(),
                }),
                false => Ok(()),
            };
        }
    };
    if known.contains(&name.as_str()) {
        return Ok(());
    }
    let remedy = match super::fault::suggest(name, known) {
        Some(similar) => format!("did you mean {similar:?}?"),
        None if known.is_empty() => format!("there is no {what}"),
        None => format!("known here: {}", known.join(", ")),
    };
    Err(MemberFault {
        key: "via",
        message: format!("no {what} is called {name:?}"),
        remedy,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(protocols: &[ChannelProtocol], via: &[ChannelMember]) -> ChannelSettings {
        ChannelSettings {
            protocols: protocols.to_vec(),
            via: via.to_vec(),
            ..ChannelSettings::default()
        }
    }

    fn store(name: &str) -> ChannelMember {
        ChannelMember::Store(name.to_owned())
    }

    fn check(settings: &ChannelSettings, expected: Result<Vec<ChannelMember>, (&str, &str)>) {
        let found = settings.members(&["main"], &["plant", "yard"]);
        let found = found
            .as_ref()
            .map_err(|fault| (fault.key, fault.message.as_str()));
        assert_eq!(found, expected.as_ref().map_err(|fault| *fault));
    }

    #[test]
    fn protocols_stand_for_the_only_table_of_their_kind() {
        let redis = [ChannelProtocol::Redis];
        check(&settings(&redis, &[]), Ok(vec![store("main")]));
        let several = "there are several tables [bridges.NAME]: plant, yard";
        let mqtt = [ChannelProtocol::Mqtt];
        check(&settings(&mqtt, &[]), Err(("protocols", several)));
        let none = settings(&redis, &[]).members(&[], &[]);
        assert!(none.is_err());
        let twice = [ChannelProtocol::Redis, ChannelProtocol::Redis];
        check(
            &settings(&twice, &[]),
            Err(("protocols", "store main is named twice")),
        );
    }

    #[test]
    fn names_that_are_not_there_are_refused_with_a_suggestion() {
        let found = settings(&[], &[store("mian")]).members(&["main"], &[]);
        let fault = found.expect_err("no such store");
        assert_eq!(fault.message, "no store of Redis is called \"mian\"");
        assert_eq!(fault.remedy, "did you mean \"main\"?");
    }

    #[test]
    fn a_channel_says_once_which_brokers_it_has() {
        check(
            &settings(&[], &[]),
            Err(("protocols", "no broker is named")),
        );
        let both = settings(&[ChannelProtocol::Redis], &[store("main")]);
        let message = "protocols and via both say which brokers there are";
        check(&both, Err(("via", message)));
    }

    #[test]
    fn a_url_is_of_the_protocol_that_names_it() {
        let url = |text: &str| BrokerUrl::parse(text).expect("a URL");
        let mut settings = settings(&[ChannelProtocol::WebSocket], &[]);
        let message = "\"websocket\" needs a URL of its kind";
        check(&settings, Err(("url", message)));
        settings.url = Some(url("vstp://h:9090"));
        check(&settings, Err(("url", message)));
        settings.url = Some(url("wss://h/ws"));
        let member = ChannelMember::Url {
            url: url("wss://h:443/ws"),
            topic: None,
        };
        check(&settings, Ok(vec![member]));
    }
}
