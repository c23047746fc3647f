//! Key `grants.http` of a manifest: servers that a plugin may ask.

use postern_wasm::HttpGrant;
use serde_json::json;

use super::{leaf::Leaf, value::Value};

/// One server, or several.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpGrantSetting(pub HttpGrant);

impl Leaf for HttpGrantSetting {
    fn expected() -> String {
        "a server such as \"api.example.org\", \"*.example.org:8443\" or \"http://127.0.0.1:8080\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let text = String::read(value)?;
        let parsed = HttpGrant::parse(&text).map(Self);
        parsed.map_err(|error| error.to_string())
    }

    fn written(&self) -> Option<String> {
        self.0.to_string().written()
    }

    fn schema() -> serde_json::Value {
        json!({ "type": "string", "minLength": 1 })
    }
}
