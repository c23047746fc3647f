//! The name of a slot: that of a plugin, `users`, or of one version of it, `users@2.1.0`.

/// The plugin that a slot is of. What versions of one plugin share goes by it: the store, the services that
/// a manifest does not name, who calls when they call others.
#[must_use]
pub fn plugin_of_slot(slot: &str) -> &str {
    slot.split_once('@').map_or(slot, |(plugin, _)| plugin)
}

/// The version of which a slot is; `None` where the plugin has no version in its file's name.
#[must_use]
pub fn version_of_slot(slot: &str) -> Option<&str> {
    slot.split_once('@').map(|(_, version)| version)
}
