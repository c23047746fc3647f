//! `postern services list`.

use clap::Subcommand;
use serde_json::Value as Json;

use super::{
    Shared,
    admin::{Admin, AdminArgs},
    block_on,
    failure::Failure,
    output::Output,
    plugins::text,
};

#[derive(Debug, Subcommand)]
pub(super) enum ServicesCommand {
    /// Every service: who answers for it, its methods and its calls.
    List(AdminArgs),
}

pub(super) fn services(
    shared: &Shared,
    ServicesCommand::List(args): ServicesCommand,
    output: &Output,
) -> Result<(), Failure> {
    let admin = Admin::new(shared, &args, output)?;
    let reply = block_on(admin.read("/services"))?;
    if output.is_json() {
        return output.json(&reply);
    }
    let services = reply
        .get("services")
        .and_then(Json::as_array)
        .cloned()
        .unwrap_or_default();
    if services.is_empty() {
        output.note("no services; `postern plugins list` says which plugins there are");
        return Ok(());
    }
    let row = |service: &Json| {
        let is_live = service
            .get("is_live")
            .and_then(Json::as_bool)
            .unwrap_or_default();
        let methods = service.get("methods").and_then(Json::as_array);
        let methods = methods
            .into_iter()
            .flatten()
            .filter_map(Json::as_str)
            .collect::<Vec<_>>();
        let state = if is_live {
            "live".to_owned()
        } else {
            text(service, "/reason")
        };
        vec![
            text(service, "/name"),
            text(service, "/version"),
            text(service, "/plugin"),
            state,
            text(service, "/calls/ended"),
            methods.join(", "),
        ]
    };
    let head = ["SERVICE", "VERSION", "PLUGIN", "STATE", "CALLS", "METHODS"];
    output.table(&head, services.iter().map(row).collect())
}
