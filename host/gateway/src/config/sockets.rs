//! Grants of sockets in a manifest.

use postern_wasm::SocketGrant;

use super::{leaf::Leaf, value::Value};

/// Where a plugin's own sockets may lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SocketGrantSetting(pub SocketGrant, String);

impl Leaf for SocketGrantSetting {
    fn expected() -> String {
        "\"tcp:ADDRESS:PORT\" or \"udp:ADDRESS:PORT\", such as \"tcp:10.0.0.0/8:5432\", or \"dns\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        match SocketGrant::parse(&text) {
            Ok(grant) => Ok(Self(grant, text)),
            Err(error) => Err(format!("{text:?}: {error}")),
        }
    }

    fn written(&self) -> Option<String> {
        self.1.written()
    }

    fn schema() -> serde_json::Value {
        String::schema()
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, Manifest};

    #[test]
    fn what_grants_no_socket_is_refused_with_what_is_wrong_and_what_to_write() {
        let text = "[grants]\nsockets = [\"tcp:db:5432\"]\n";
        let faults = Manifest::parse("m.toml", text, &Config::default()).expect_err("a fault");
        let fault = faults.faults.first().expect("one");
        let expected =
            "grants.sockets: \"tcp:db:5432\": \"db\" is no address, no network and not \"*\"";
        assert_eq!(fault.to_string(), expected);
        assert!(
            fault.remedy.contains("tcp:10.0.0.0/8:5432"),
            "{}",
            fault.remedy
        );
    }
}
