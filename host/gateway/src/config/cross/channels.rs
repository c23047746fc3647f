//! Channels whose brokers are not there, and that have nothing to carry.

use super::{Config, SectionReader};

pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    let (stores, bridges) = (config.redis_stores(), config.bridge_names());
    for (name, channel) in &config.channels {
        let path = format!("channels.{name}");
        if let Err(fault) = channel.members(&stores, &bridges) {
            let key = format!("{path}.{}", fault.key);
            match reader.places.contains_key(&key) {
                true => reader.fault_of_key(&key, fault.message, fault.remedy),
                false => reader.fault_of_table(&path, fault.message, fault.remedy),
            }
        }
        if channel.topics.is_empty() && channel.services.is_empty() {
            let message = "the channel carries nothing";
            let remedy = "write topics = [\"orders.>\"], or services";
            reader.fault_of_table(&path, message, remedy);
        }
        let mut others = config.channels.range::<String, _>(..name.clone());
        let shared = others.find_map(|(other, before)| {
            let mut services = channel.services.iter();
            let service = services.find(|service| before.services.contains(service))?;
            Some((other, service))
        });
        if let Some((other, service)) = shared {
            let key = format!("{path}.services");
            let message = format!("calls of {service:?} go over channel {other:?} already");
            reader.fault_of_key(&key, message, "leave it to one of the two");
        }
    }
}

impl Config {
    /// Names of the stores that are a Redis.
    #[must_use]
    pub(crate) fn redis_stores(&self) -> Vec<&str> {
        let stores = self.stores.iter().filter(|(_, store)| store.url.is_some());
        stores.map(|(name, _)| name.as_str()).collect()
    }

    /// Names of the bridges to brokers of MQTT.
    #[must_use]
    pub(crate) fn bridge_names(&self) -> Vec<&str> {
        self.bridges.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::parse;

    fn faults(text: &str) -> Vec<(String, String)> {
        let faults = parse("f", text, &BTreeMap::new())
            .expect_err("refused")
            .faults;
        let faults = faults.into_iter().map(|fault| (fault.path, fault.message));
        faults.collect()
    }

    #[test]
    fn a_channel_has_brokers_and_something_to_carry() {
        let found = faults("[channels.a]\nvia = [{ bridge = \"x\" }]");
        let expected = [
            ("channels.a", "the channel carries nothing"),
            ("channels.a.via", "no bridge is called \"x\""),
        ];
        let expected = expected.map(|(path, message)| (path.to_owned(), message.to_owned()));
        assert_eq!(found, expected);
    }

    #[test]
    fn two_channels_cannot_have_calls_of_one_service() {
        let channel = |name: &str| {
            format!("[channels.{name}]\nvia = [{{ url = \"vstp://h:1\" }}]\nservices = [\"s\"]\n")
        };
        let found = faults(&(channel("a") + &channel("b")));
        let message = "calls of \"s\" go over channel \"a\" already".to_owned();
        assert_eq!(found, [("channels.b.services".to_owned(), message)]);
    }
}
