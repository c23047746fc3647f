//! Interfaces of WASI beyond the usual ones of 0.2: what components of other hosts import.

/// An interface and the versions of it that are linked: a minor version, or a draft as it is written.
type Offered = (&'static str, &'static [&'static str]);

/// Version of WASI with asynchronous functions.
const ASYNC: &str = "0.3";

static OFFERED: [Offered; 30] = [
    ("wasi:cli/environment", &[ASYNC]),
    ("wasi:cli/exit", &[ASYNC]),
    ("wasi:cli/stderr", &[ASYNC]),
    ("wasi:cli/stdin", &[ASYNC]),
    ("wasi:cli/stdout", &[ASYNC]),
    ("wasi:cli/terminal-input", &[ASYNC]),
    ("wasi:cli/terminal-output", &[ASYNC]),
    ("wasi:cli/terminal-stderr", &[ASYNC]),
    ("wasi:cli/terminal-stdin", &[ASYNC]),
    ("wasi:cli/terminal-stdout", &[ASYNC]),
    ("wasi:cli/types", &[ASYNC]),
    ("wasi:clocks/monotonic-clock", &[ASYNC]),
    ("wasi:clocks/system-clock", &[ASYNC]),
    ("wasi:clocks/types", &[ASYNC]),
    ("wasi:config/runtime", &["0.2.0-draft"]),
    (
        "wasi:config/store",
        &["0.2.0-draft", "0.2.0-draft-2024-09-27", "0.2.0-rc.1"],
    ),
    ("wasi:filesystem/preopens", &[ASYNC]),
    ("wasi:filesystem/types", &[ASYNC]),
    ("wasi:http/client", &[ASYNC]),
    ("wasi:http/outgoing-handler", &["0.2"]),
    ("wasi:http/types", &["0.2", ASYNC]),
    ("wasi:keyvalue/atomics", &["0.2.0-draft", "0.2.0-draft2"]),
    ("wasi:keyvalue/batch", &["0.2.0-draft", "0.2.0-draft2"]),
    ("wasi:keyvalue/store", &["0.2.0-draft", "0.2.0-draft2"]),
    ("wasi:logging/logging", &["", "0.1.0-draft"]),
    ("wasi:random/insecure", &[ASYNC]),
    ("wasi:random/insecure-seed", &[ASYNC]),
    ("wasi:random/random", &[ASYNC]),
    ("wasi:sockets/ip-name-lookup", &[ASYNC]),
    ("wasi:sockets/types", &[ASYNC]),
];

/// The version of `interface` that is offered to who imports `version`: the same minor version where there
/// is one, else the newest. `None` where there is none at all.
pub(crate) fn version_of(interface: &str, version: &str) -> Option<&'static str> {
    let (_, versions) = OFFERED.iter().find(|(name, _)| *name == interface)?;
    let is_same = |offered: &&&str| is_of(version, offered);
    versions
        .iter()
        .find(is_same)
        .or_else(|| versions.last())
        .copied()
}

/// All of them, as a list of what is offered names them.
pub(crate) fn shown() -> impl Iterator<Item = String> {
    let all = OFFERED.iter();
    all.flat_map(|(name, versions)| {
        let versions = versions.iter();
        versions.map(move |version| match shown_version(version) {
            shown if shown.is_empty() => (*name).to_owned(),
            shown => format!("{name}@{shown}"),
        })
    })
}

/// `0.2` as `0.2.x`; a draft as it is.
pub(crate) fn shown_version(version: &str) -> String {
    match version.is_empty() || version.contains('-') {
        true => version.to_owned(),
        false => format!("{version}.x"),
    }
}

/// Whether `version` is a patch of `offered` (`0.2`), which is compatible by semantic versioning, or that
/// version itself, where it is a draft (`0.2.0-draft`).
pub(crate) fn is_of(version: &str, offered: &str) -> bool {
    if offered.is_empty() || offered.contains('-') {
        return version == offered;
    }
    let patch = version.strip_prefix(offered);
    patch.is_some_and(|patch| patch.starts_with('.') && !patch.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_is_offered_as_it_is_written_and_a_version_with_its_patches() {
        assert_eq!(version_of("wasi:http/types", "0.2.4"), Some("0.2"));
        assert_eq!(version_of("wasi:http/types", "0.3.1"), Some("0.3"));
        assert_eq!(version_of("wasi:http/types", "0.3.0-rc-1"), Some("0.3"));
        assert!(!is_of("0.3.0-rc-1", "0.3"));
        let draft = "0.2.0-draft";
        assert_eq!(version_of("wasi:keyvalue/store", draft), Some(draft));
        assert!(is_of(draft, draft) && !is_of("0.2.0", draft));
        assert_eq!(version_of("wasi:logging/logging", ""), Some(""));
        assert_eq!(version_of("wasi:webgpu/webgpu", "0.0.1"), None);
    }
}
