//! Redis behind the gateway: the real binary, and real servers of Redis that each test starts for itself.
//!
//! | file | what |
//! | --- | --- |
//! | `tables.rs` | key/value tables of plugins: values, swaps, expiry, prefixes, copies, recordings |
//! | `channels.rs` | events to channels and from them |
//! | `topics.rs` | durable topics as streams with consumer groups; `kill -9` |
//! | `encrypted.rs` | TLS, ACL users, files that change |
//! | `away.rs` | servers that die, stall, come back; a cluster, sentinels |
//! | `settings.rs` | each key of `[stores.NAME]`, changes of the configuration, what operators see |

mod away;
mod channels;
mod encrypted;
mod settings;
mod tables;
mod topics;

use std::sync::Arc;

use postern_core::{Error, Handler};
use postern_tests::{CallerTransport, Gateway, RedisServer, Setup, call, connect};
use serde_json::{Value, json};

/// A gateway with the plugin `probe`, whose table lies in the store `main`.
async fn gateway(server: &RedisServer, keys: &str) -> Gateway {
    Gateway::start(setup(&server.url(), keys)).await
}

/// `keys` are further keys of `[stores.main]`, and further tables.
fn setup(url: &str, keys: &str) -> Setup {
    Setup {
        config: format!("[stores.main]\nurl = \"{url}\"\n{keys}\n[plugins.kv]\nstore = \"main\"\n"),
        ..Setup::default()
    }
    .plugin("probe")
}

async fn caller(gateway: &Gateway) -> Arc<dyn Handler> {
    connect(gateway, CallerTransport::Tcp).await
}

async fn ask(caller: &dyn Handler, method: &str, message: &Value) -> Result<Value, Error> {
    let reply = call(caller, &format!("probe/{method}"), message.to_string()).await?;
    Ok(serde_json::from_slice(&reply).expect("JSON"))
}

async fn set(caller: &dyn Handler, key: &str, value: impl Into<Value>) -> Result<Value, Error> {
    let message = json!({ "key": key, "value": value.into() });
    ask(caller, "KvSet", &message).await
}

async fn get(caller: &dyn Handler, key: &str) -> Result<Value, Error> {
    ask(caller, "KvGet", &json!({ "key": key, "value": null })).await
}

/// The store `main` as operators see it.
async fn shown(gateway: &Gateway) -> Value {
    let stores = gateway.admin_json("/stores").await;
    let mut stores = stores["stores"].as_array().expect("a list").iter();
    let main = stores.find(|store| store["name"] == "main");
    main.expect("it is there").clone()
}
