//! Stores that other tables name.

use crate::config::{LOCAL_STORE, section::SectionReader, services::quoted, settings::Config};

/// Topics are kept in a store that there is.
pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (pattern, settings) in config.topics.iter() {
        if settings.store == LOCAL_STORE {
            continue;
        }
        let table = quoted(pattern.as_str());
        let key = |name: &str| format!("topics.{table}.{name}");
        if !config.stores.contains_key(&settings.store) {
            let message = format!("no store is called {:?}", settings.store);
            let remedy = format!("write {LOCAL_STORE:?}, or add [stores.{}]", settings.store);
            reader.fault_of_key(&key("store"), message, remedy);
        }
        for name in ["max-bytes", "when-full"] {
            if reader.places.contains_key(&key(name)) {
                let message = "a Redis bounds a stream by max-messages and max-age alone";
                reader.fault_of_key(&key(name), message, "remove it");
            }
        }
    }
}
