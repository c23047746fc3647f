//! What of the plugin folder is taken: `plugins.approval` and `[plugins.signatures]`.

use std::path::PathBuf;

use minisign_verify::PublicKey;

use super::{
    leaf::{Leaf, word_leaf},
    section::{SectionReader, section},
    settings::Config,
    value::Value,
};

/// Which versions wait for an operator before they take calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Approval {
    /// None.
    Off,
    /// One that asks for more than the one that serves.
    Growth,
    /// Each.
    Always,
}

word_leaf!(Approval { Off = "off", Growth = "growth", Always = "always" });

section! {
    /// Who vouches for plugins, by minisign. Without keys no signature is looked at.
    pub(crate) struct SignatureSettings {
        /// Public keys, one of which must have signed what is signed: the line of a key file that begins
        /// with "RW".
        pub keys: Vec<SigningKey> = Vec::new();
        /// Files of public keys, as `minisign -G` writes them. Read at each deployment.
        pub key_files: Vec<PathBuf> = Vec::new();
        /// Whether a plugin is refused that has no signature of its component and of its manifest.
        pub require_signature: bool = false;
    }
}

/// A public key of minisign, as its file has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SigningKey {
    pub text: String,
    pub key: PublicKey,
}

impl Config {
    /// Which versions wait; what grows where nothing is said.
    pub(crate) fn approval(&self) -> Approval {
        self.plugins.approval.unwrap_or(Approval::Growth)
    }
}

/// Signatures that nobody can have made would refuse every plugin.
pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    let settings = &config.plugins.signatures;
    if settings.require_signature && settings.keys.is_empty() && settings.key_files.is_empty() {
        reader.fault_of_key(
            "plugins.signatures.require-signature",
            "signatures are required and no key is named that may have made them",
            "name keys in plugins.signatures.keys or plugins.signatures.key-files",
        );
    }
}

impl Leaf for SigningKey {
    fn expected() -> String {
        "a public key of minisign, such as \
         \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\""
            .to_owned()
    }

    fn read(value: &Value) -> Result<Self, String> {
        let refused = || format!("{} is not a public key of minisign", value.shown());
        let text = value.as_text().ok_or_else(refused)?.trim();
        let key = PublicKey::from_base64(text).map_err(|_| refused())?;
        let text = text.to_owned();
        Ok(Self { text, key })
    }

    fn written(&self) -> Option<String> {
        self.text.written()
    }

    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^RW[A-Za-z0-9+/]{54}$" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::parse;

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[track_caller]
    fn faults(text: &str) -> Vec<String> {
        let faults = parse("postern.toml", text, &BTreeMap::new()).expect_err("refused");
        faults.faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn keys_are_read_and_what_is_none_is_refused() {
        let text = format!("[plugins.signatures]\nkeys = [\"{KEY}\"]\nrequire-signature = true\n");
        let (config, _) = parse("postern.toml", &text, &BTreeMap::new()).expect("valid");
        assert_eq!(config.plugins.signatures.keys[0].text, KEY);
        let told = faults("[plugins.signatures]\nkeys = [\"RWQf6LRC\"]\n");
        assert!(told[0].contains("\"RWQf6LRC\""), "{told:?}");
    }

    #[test]
    fn signatures_that_are_required_need_a_key() {
        let told = faults("[plugins.signatures]\nrequire-signature = true\n");
        assert!(told[0].contains("no key is named"), "{told:?}");
    }
}
