//! Who may depend on what. A new line here is looked at three times.

use std::collections::BTreeSet;

use crate::{assert_none, read};

/// Direct dependencies of each crate of the host, all that it may have.
const ALLOWED: [(&str, &[&str]); 5] = [
    (
        "host/core",
        &[
            "bitflags",
            "bytes",
            // Text within `Bytes` that was checked once; the standard library checks again by safe means.
            "bytestring",
            "crc32fast",
            // Levels of topics, once for each event that is published.
            "foldhash",
            "futures-core",
            "semver",
            "smallvec",
            "thiserror",
        ],
    ),
    ("host/system", &["crossbeam-utils", "getrandom", "tokio"]),
    (
        "host/net",
        &[
            "arc-swap",
            // gzip, Brotli, zstd.
            "async-compression",
            // The key of a WebSocket's handshake, and payloads in JSON that are neither JSON nor text.
            "base64",
            "bitflags",
            "bytes",
            // Folders that no path and no link leads out of.
            "cap-std",
            // permessage-deflate.
            "flate2",
            "futures-core",
            "futures-util",
            // What became of a stream: refused, above the last of GOAWAY, broken. hyper does not say.
            "h2",
            "http",
            "http-body",
            "http-body-util",
            "httparse",
            "hyper",
            "hyper-rustls",
            "hyper-util",
            // Sockets that a service manager passes; the standard library takes them by `unsafe` only.
            "listenfd",
            "mqtt-protocol-core",
            "parking_lot",
            "percent-encoding",
            "postern-core",
            "postern-system",
            "prost",
            "prost-types",
            "quinn",
            // Congestion control names its types, which quinn does not show.
            "quinn-proto",
            "quinn-udp",
            "redis",
            "rustls",
            "rustls-native-certs",
            "serde",
            "serde_json",
            // The answer to that key.
            "sha1",
            "sha2",
            "socket2",
            "thiserror",
            "tokio",
            "tokio-rustls",
            "tokio-util",
            // Files with ranges, entity tags and conditions.
            "tower-http",
            "tower-service",
            "tracing",
            "webpki-roots",
            "x509-parser",
        ],
    ),
    (
        "host/wasm",
        &[
            "arc-swap",
            // Octets of recorded calls that are no text.
            "base64",
            "bytes",
            "futures-util",
            "http",
            "http-body",
            "http-body-util",
            "parking_lot",
            "postern-core",
            "postern-system",
            // The trait of the generators that WASI takes.
            "rand_core",
            "redb",
            // Priority and processor time of the threads for guests; the standard library has neither.
            "rustix",
            "serde",
            "serde_json",
            "sha2",
            "thiserror",
            "tokio",
            "tracing",
            "wasmtime",
            "wasmtime-wasi",
            "wasmtime-wasi-http",
            // What is ready when is written down by a recording.
            "wasmtime-wasi-io",
        ],
    ),
    (
        "host/gateway",
        &[
            "anstyle",
            "arc-swap",
            "axum",
            // Keys of accounts at authorities of certificates.
            "base64",
            "bytes",
            "clap",
            "clap_complete",
            "comfy-table",
            "etherparse",
            "flate2",
            "foldhash",
            "futures-util",
            "governor",
            // Dates of `retry-after`, and those that people read.
            "httpdate",
            "indicatif",
            // What is said to the authority of a certificate; how it is sent is net's.
            "instant-acme",
            // Requests are checked against the schemas of methods.
            "jsonschema",
            "jsonwebtoken",
            "miette",
            // Signatures of components.
            "minisign-verify",
            // Users and groups by their names, wherever the system keeps them.
            "nix",
            "notify",
            "notify-debouncer-full",
            // Components from registries.
            "oci-client",
            "parking_lot",
            "pcap-parser",
            "percent-encoding",
            "postern-core",
            "postern-net",
            "postern-system",
            "postern-wasm",
            "prometheus-client",
            "prost",
            "prost-reflect",
            "prost-types",
            "protox",
            // `postern certs dev` signs with it; requests for certificates.
            "rcgen",
            // Logs of events; the other file of the gateway is wasm's.
            "redb",
            "serde",
            "serde_json",
            "sha2",
            "subtle",
            "thiserror",
            "tokio",
            "tokio-util",
            "toml",
            "tracing",
            "tracing-subscriber",
            // Who made a component, and which roles a core module has.
            "wasmparser",
            // Components out of core modules, without a tool to install.
            "wit-component",
            // The worlds of components that are built, and the types of those that are inspected.
            "wit-parser",
        ],
    ),
];

/// What only one crate of the host may have.
const EXCLUSIVE: [(&str, &str); 24] = [
    ("wasmtime", "host/wasm"),
    ("wasmtime-wasi", "host/wasm"),
    ("wasmtime-wasi-http", "host/wasm"),
    ("wasmtime-wasi-io", "host/wasm"),
    ("oci-client", "host/gateway"),
    ("redis", "host/net"),
    ("mqtt-protocol-core", "host/net"),
    ("hyper", "host/net"),
    ("quinn", "host/net"),
    ("quinn-proto", "host/net"),
    ("quinn-udp", "host/net"),
    ("rustls", "host/net"),
    ("tokio-rustls", "host/net"),
    ("listenfd", "host/net"),
    ("socket2", "host/net"),
    // Entropy and cache lines are taken by way of `postern-system`.
    ("getrandom", "host/system"),
    ("crossbeam-utils", "host/system"),
    ("toml", "host/gateway"),
    ("clap", "host/gateway"),
    ("jsonschema", "host/gateway"),
    ("jsonwebtoken", "host/gateway"),
    ("governor", "host/gateway"),
    ("prost-reflect", "host/gateway"),
    ("protox", "host/gateway"),
];

fn direct(folder: &str, table: &str) -> BTreeSet<String> {
    let path = format!("{folder}/Cargo.toml");
    let manifest: toml::Table = read(&path)
        .parse()
        .unwrap_or_else(|e| panic!("{path}: {e}"));
    let names = manifest.get(table).and_then(toml::Value::as_table);
    names
        .map(|names| names.keys().cloned().collect())
        .unwrap_or_default()
}

#[test]
fn crates_depend_on_what_the_list_allows() {
    let mut faults = Vec::new();
    for (folder, allowed) in ALLOWED {
        let found = direct(folder, "dependencies");
        let allowed: BTreeSet<_> = allowed.iter().map(|name| (*name).to_owned()).collect();
        for name in found.difference(&allowed) {
            faults.push(format!("{folder}: `{name}` is not on the list"));
        }
        for name in allowed.difference(&found) {
            faults.push(format!("{folder}: `{name}` is on the list and not needed"));
        }
    }
    assert_none(&faults);
}

#[test]
fn some_dependencies_belong_to_one_crate() {
    let mut faults = Vec::new();
    for (folder, _) in ALLOWED {
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let found = direct(folder, table);
            for (name, owner) in EXCLUSIVE {
                if folder != owner && found.contains(name) {
                    faults.push(format!("{folder}: `{name}` belongs to {owner}"));
                }
            }
        }
    }
    assert_none(&faults);
}

#[test]
fn net_and_wasm_never_meet() {
    for table in ["dependencies", "dev-dependencies"] {
        assert!(!direct("host/net", table).contains("postern-wasm"));
        assert!(!direct("host/wasm", table).contains("postern-net"));
        for (folder, _) in ALLOWED.iter().take(4) {
            assert!(
                !direct(folder, table).contains("postern"),
                "{folder} knows the gateway"
            );
        }
    }
}
