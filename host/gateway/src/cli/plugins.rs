//! `postern plugins list|info|rollback|release|approve|pull`; what concerns versions alone stands in `plugin_versions.rs`.

use clap::{Args, Subcommand};
use postern_system::clock;
use serde_json::Value as Json;

use super::{
    admin::{Admin, AdminArgs, path},
    approval,
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugin_usage::{metric_lines, octets, seconds, version_line},
    plugin_versions::{self, VersionsCommand},
    pull,
    runtime::block_on,
    shadow,
};

#[derive(Debug, Subcommand)]
pub(super) enum PluginsCommand {
    /// Every plugin: state, generation, services, and why a file was refused.
    List(AdminArgs),
    /// Everything that is known of one plugin.
    Info(PluginArgs),
    /// End the trial of a version; without one, let the version or generation before take the calls again.
    Rollback(PluginArgs),
    /// Replay recorded calls by a component or by what a running gateway serves, and compare.
    Shadow(shadow::ShadowArgs),
    /// Let a plugin take calls again that its traps keep from that.
    Release(PluginArgs),
    #[command(flatten)]
    Versions(VersionsCommand),
    /// Let a version take the calls that is held because it asks for more than the one before.
    Approve(approval::ApproveArgs),
    /// Fetch a component from a registry into the plugin folder.
    Pull(pull::PullArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct PluginArgs {
    /// NAME, NAME@VERSION, or NAME@ for the version without a name. NAME alone is the version of it that the
    /// command is about.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) admin: AdminArgs,
}

pub(super) fn plugins(
    options: &SharedOptions,
    command: PluginsCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    match command {
        PluginsCommand::Versions(command) => plugin_versions::versions(options, command, output),
        PluginsCommand::List(args) => {
            let admin = Admin::new(options, &args, output)?;
            let reply = block_on(admin.read("/plugins"))?;
            if output.is_json() {
                output.json(&reply)
            } else {
                list(&reply, output)
            }
        }
        PluginsCommand::Info(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let reply = block_on(admin.read(&path("plugins", &args.name, "")))?;
            if output.is_json() {
                output.json(&reply)
            } else {
                info(&reply, output)
            }
        }
        PluginsCommand::Shadow(args) => shadow::shadow(options, &args, output),
        PluginsCommand::Release(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let reply = block_on(admin.change(&path("plugins", &args.name, "/release")))?;
            if output.is_json() {
                return output.json(&reply);
            }
            output.line(&format!("{} takes calls again", text(&reply, "/name")))
        }
        PluginsCommand::Approve(args) => approval::approve(options, &args, output),
        PluginsCommand::Pull(args) => pull::pull(options, &args, output),
        PluginsCommand::Rollback(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let reply = block_on(admin.change(&path("plugins", &args.name, "/rollback")))?;
            if output.is_json() {
                return output.json(&reply);
            }
            let generation = reply
                .get("generation")
                .and_then(Json::as_u64)
                .unwrap_or_default();
            output.line(&format!(
                "{} is back at digest {}, as generation {generation}",
                text(&reply, "/name"),
                digest(&reply),
            ))
        }
    }
}

fn list(reply: &Json, output: &Output) -> Result<(), CommandFailure> {
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
            place(plugin),
            text(plugin, "/generation"),
            digest(plugin),
            text(plugin, "/source"),
            services(plugin),
            total(plugin, "/calls"),
            seconds(plugin, "/processor_seconds"),
            octets(plugin, "/memory_bytes"),
            percent(plugin),
            text(plugin, "/p99_ms"),
            text(plugin, "/refusal/reason"),
        ]
    };
    let head = [
        "PLUGIN",
        "STATE",
        "PLACE",
        "GENERATION",
        "DIGEST",
        "SOURCE",
        "SERVICES",
        "CALLS",
        "PROCESSOR",
        "MEMORY",
        "ERRORS",
        "P99 MS",
        "REFUSED",
    ];
    output.table(&head, plugins.iter().map(row).collect())
}

/// One line per field; what is empty is left out.
fn info(plugin: &Json, output: &Output) -> Result<(), CommandFailure> {
    let Some(fields) = plugin.as_object() else {
        return output.json(plugin);
    };
    let now = clock::unix_time().as_secs();
    for (name, value) in fields {
        let shown = match (name.as_str(), value) {
            ("since", Json::Number(_)) => ago(value, now),
            ("approvals", Json::Array(approvals)) => lines(
                approvals
                    .iter()
                    .map(|approval| approval_line(approval, now)),
            ),
            ("changes", Json::Array(entries)) => lines(
                entries
                    .iter()
                    .map(|entry| plugin_versions::line(entry, now)),
            ),
            ("held", Json::Object(_)) => approval::held_lines(value),
            ("held_versions", Json::Array(versions)) => approval::held_versions_lines(versions),
            ("signature", Json::Object(_)) => approval::signature_lines(value),
            ("services", Json::Array(services)) => lines(services.iter().map(service_line)),
            ("versions", Json::Array(versions)) => lines(versions.iter().map(version_line)),
            ("metrics", Json::Array(metrics)) => lines(metrics.iter().flat_map(metric_lines)),
            ("processor_seconds", Json::Number(_)) => seconds(plugin, "/processor_seconds"),
            ("history", Json::Array(events)) => {
                lines(events.iter().map(|event| event_line(event, now)))
            }
            (_, Json::Array(items)) => items.iter().map(word).collect::<Vec<_>>().join(", "),
            (_, Json::Object(fields)) => {
                let fields = fields.iter().filter(|(_, value)| !value.is_null());
                let fields = fields.map(|(name, value)| format!("{name} {}", word(value)));
                fields.collect::<Vec<_>>().join(", ")
            }
            (_, Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_)) => word(value),
        };
        if !shown.is_empty() {
            output.line(&format!("{:<18} {shown}", name.replace('_', "-")))?;
        }
    }
    Ok(())
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| format!("\n    {line}")).collect()
}

/// `users 0.1.0: CreateUser, GetUser`.
fn service_line(service: &Json) -> String {
    let methods = service.get("methods").and_then(Json::as_array);
    let methods: Vec<_> = methods
        .into_iter()
        .flatten()
        .map(|method| text(method, "/name"))
        .collect();
    let head = format!("{} {}", text(service, "/name"), text(service, "/version"));
    format!("{}: {}", head.trim_end(), methods.join(", "))
}

/// `12 s ago  active, generation 2, eb169c1df467`.
fn event_line(event: &Json, now: u64) -> String {
    let mut line = format!(
        "{:>10}  {}",
        ago(event.get("at").unwrap_or(&Json::Null), now),
        text(event, "/stage")
    );
    let generation = text(event, "/generation");
    if !generation.is_empty() {
        line = format!("{line}, generation {generation}");
    }
    line = format!("{line}, {}", digest(event));
    match text(event, "/refused").as_str() {
        "" => line,
        refused => format!("{line}, refused: {refused}"),
    }
}

/// `12 s ago  5f2b91c0aa31 by uid 1000 (ada)`.
fn approval_line(approval: &Json, now: u64) -> String {
    let at = approval.get("at").unwrap_or(&Json::Null);
    let by = text(approval, "/by");
    format!("{:>10}  {} by {by}", ago(at, now), digest(approval))
}

pub(super) fn ago(at: &Json, now: u64) -> String {
    let seconds = now.saturating_sub(at.as_u64().unwrap_or(now));
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        7200..172_800 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

fn services(plugin: &Json) -> String {
    let services = plugin.get("services").and_then(Json::as_array);
    let names = services
        .into_iter()
        .flatten()
        .map(|service| text(service, "/name"));
    names.collect::<Vec<_>>().join(", ")
}

/// What it is among the versions of its plugin: `canary 5%`.
fn place(plugin: &Json) -> String {
    let place = format!(
        "{} {}",
        text(plugin, "/place"),
        text(plugin, "/trial/weight")
    );
    let pinned = match plugin.get("pinned").and_then(Json::as_bool) {
        Some(true) if place.starts_with("stable") => " pinned",
        Some(_) | None => "",
    };
    format!("{}{pinned}", place.trim_end())
}

fn percent(plugin: &Json) -> String {
    let rate = plugin.get("error_rate").and_then(Json::as_f64);
    rate.map_or(String::new(), |rate| format!("{:.1}%", rate * 100.0))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lines_of_a_plugin_read_like_this() {
        let digest = "eb169c1df4670000";
        let event = json!({ "at": 100, "stage": "active", "generation": 2, "digest": digest, "refused": null });
        assert_eq!(
            event_line(&event, 112),
            "  12 s ago  active, generation 2, eb169c1df467"
        );
        let refused =
            json!({ "at": 100, "stage": "linked", "digest": digest, "refused": "imports x" });
        let line = event_line(&refused, 100 + 7200);
        assert_eq!(line, "   2 h ago  linked, eb169c1df467, refused: imports x");
        let service = json!({ "name": "users", "methods": [{ "name": "A" }, { "name": "B" }] });
        assert_eq!(service_line(&service), "users: A, B");
    }

    #[test]
    fn a_name_cannot_leave_its_place_in_the_path() {
        assert_eq!(
            path("plugins", "users@2", "/rollback"),
            "/plugins/users@2/rollback"
        );
        assert_eq!(path("plugins", "../drain?", ""), "/plugins/..%2Fdrain%3F");
    }
}
