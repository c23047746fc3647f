//! Stores that other tables name.

use crate::config::{LOCAL_STORE, section::SectionReader, settings::Config};

/// Topics are kept in a store that there is.
pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    for (pattern, settings) in config.topics.iter() {
        if settings.store != LOCAL_STORE {
            let key = format!("topics.\"{pattern}\".store");
            let message = format!("no store is called {:?}", settings.store);
            reader.fault_of_key(&key, message, format!("write {LOCAL_STORE:?}"));
        }
    }
}
