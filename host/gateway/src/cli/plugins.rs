//! `postern plugins list|info|rollback`.

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::{
    Shared,
    admin::{Admin, AdminArgs},
    block_on,
    failure::Failure,
    output::Output,
};

#[derive(Debug, Subcommand)]
pub(super) enum PluginsCommand {
    /// Every plugin: state, generation, services, and why a file was refused.
    List(AdminArgs),
    /// Everything that is known of one plugin.
    Info(OneArgs),
    /// Let the generation before take the calls again.
    Rollback(OneArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct OneArgs {
    /// The plugin's name.
    name: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn plugins(
    shared: &Shared,
    command: PluginsCommand,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        PluginsCommand::List(args) => {
            let admin = Admin::new(shared, &args, output)?;
            let reply = block_on(admin.read("/plugins"))?;
            if output.is_json() {
                output.json(&reply)
            } else {
                list(&reply, output)
            }
        }
        PluginsCommand::Info(args) => {
            let admin = Admin::new(shared, &args.admin, output)?;
            let reply = block_on(admin.read(&path(&args.name, "")))?;
            if output.is_json() {
                output.json(&reply)
            } else {
                info(&reply, output)
            }
        }
        PluginsCommand::Rollback(args) => {
            let admin = Admin::new(shared, &args.admin, output)?;
            let reply = block_on(admin.change(&path(&args.name, "/rollback")))?;
            if output.is_json() {
                return output.json(&reply);
            }
            let generation = reply
                .get("generation")
                .and_then(Json::as_u64)
                .unwrap_or_default();
            output.line(&format!(
                "{} is back at digest {}, as generation {generation}",
                args.name,
                digest(&reply),
            ))
        }
    }
}

fn list(reply: &Json, output: &Output) -> Result<(), Failure> {
    let plugins = reply
        .get("plugins")
        .and_then(Json::as_array)
        .cloned()
        .unwrap_or_default();
    if plugins.is_empty() {
        output.note("no plugins; copy a component into the plugin folder");
        return Ok(());
    }
    let row = |plugin: &Json| {
        vec![
            text(plugin, "/name"),
            text(plugin, "/state"),
            text(plugin, "/generation"),
            digest(plugin),
            services(plugin),
            total(plugin, "/calls"),
            text(plugin, "/refusal/reason"),
        ]
    };
    let head = [
        "PLUGIN",
        "STATE",
        "GENERATION",
        "DIGEST",
        "SERVICES",
        "CALLS",
        "REFUSED",
    ];
    output.table(&head, plugins.iter().map(row).collect())
}

/// One line per field; what is empty is left out.
fn info(plugin: &Json, output: &Output) -> Result<(), Failure> {
    let Some(fields) = plugin.as_object() else {
        return output.json(plugin);
    };
    for (name, value) in fields {
        let shown = match value {
            Json::Null => continue,
            Json::Array(items) if items.is_empty() => continue,
            Json::Object(fields) if fields.is_empty() => continue,
            Json::Array(items) => items
                .iter()
                .map(|item| format!("\n    {}", word(item)))
                .collect(),
            Json::Bool(_) | Json::Number(_) | Json::String(_) | Json::Object(_) => word(value),
        };
        output.line(&format!("{:<18} {shown}", name.replace('_', "-")))?;
    }
    Ok(())
}

fn services(plugin: &Json) -> String {
    let services = plugin.get("services").and_then(Json::as_array);
    let names = services
        .into_iter()
        .flatten()
        .map(|service| text(service, "/name"));
    names.collect::<Vec<_>>().join(", ")
}

/// The first 12 digits name a component well enough for people.
fn digest(plugin: &Json) -> String {
    text(plugin, "/digest").chars().take(12).collect()
}

fn total(plugin: &Json, pointer: &str) -> String {
    let counts = plugin.pointer(pointer).and_then(Json::as_object);
    let total: u64 = counts
        .into_iter()
        .flatten()
        .filter_map(|(_, count)| count.as_u64())
        .sum();
    total.to_string()
}

pub(super) fn text(json: &Json, pointer: &str) -> String {
    json.pointer(pointer).map(word).unwrap_or_default()
}

fn word(json: &Json) -> String {
    match json {
        Json::String(text) => text.clone(),
        Json::Null => String::new(),
        Json::Bool(_) | Json::Number(_) | Json::Array(_) | Json::Object(_) => json.to_string(),
    }
}

/// Names that the folder allows need no escape; anything else is escaped so that it is not found.
fn path(name: &str, end: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '@');
    let name: String = name
        .chars()
        .map(|c| if plain(c) { c } else { '_' })
        .collect();
    format!("/plugins/{name}{end}")
}
