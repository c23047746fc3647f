//! `postern stores list`.

use clap::Subcommand;
use serde_json::Value as Json;

use super::{
    admin::{Admin, AdminArgs},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugins::text,
    runtime::block_on,
};

#[derive(Debug, Subcommand)]
pub(super) enum StoresCommand {
    /// Every store: whether it is connected, its connections and its numbers.
    List(AdminArgs),
}

pub(super) fn stores(
    options: &SharedOptions,
    command: StoresCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    let StoresCommand::List(args) = command;
    let admin = Admin::new(options, &args, output)?;
    let reply = block_on(admin.read("/stores"))?;
    if output.is_json() {
        return output.json(&reply);
    }
    let stores = reply.get("stores").and_then(Json::as_array);
    list(stores.map(Vec::as_slice).unwrap_or_default(), output)
}

fn list(stores: &[Json], output: &Output) -> Result<(), CommandFailure> {
    let row = |store: &Json| {
        let is_connected = store.get("connected").and_then(Json::as_bool);
        let state = match is_connected {
            Some(true) => "connected".to_owned(),
            Some(false) | None => format!("away: {}", text(store, "/fault")),
        };
        vec![
            text(store, "/name"),
            text(store, "/url"),
            state,
            format!(
                "{}/{}",
                text(store, "/connections"),
                text(store, "/connections_max")
            ),
            text(store, "/operations"),
            text(store, "/failed"),
            text(store, "/channels/sent"),
            text(store, "/channels/received"),
        ]
    };
    let head = [
        "STORE",
        "URL",
        "STATE",
        "CONNECTIONS",
        "OPERATIONS",
        "FAILED",
        "EVENTS OUT",
        "EVENTS IN",
    ];
    output.table(&head, stores.iter().map(row).collect())
}
