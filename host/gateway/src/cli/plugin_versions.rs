//! `postern plugins promote|pin|unpin|log`.

use clap::Subcommand;
use postern_system::clock;
use serde_json::Value as Json;

use super::{
    admin::{Admin, path},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugins::{PluginArgs, ago, text},
    runtime::block_on,
};

#[derive(Debug, Subcommand)]
pub(super) enum VersionsCommand {
    /// Let a version take the plugin's calls: NAME@VERSION, or the one under trial.
    Promote(PluginArgs),
    /// Keep the version that takes the calls, or NAME@VERSION, whatever else comes.
    Pin(PluginArgs),
    /// Let newer versions be tried again.
    Unpin(PluginArgs),
    /// What happened to a plugin's versions, and who did it.
    Log(PluginArgs),
}

pub(super) fn versions(
    options: &SharedOptions,
    command: VersionsCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    let (args, end, done) = match command {
        VersionsCommand::Log(args) => return log(options, &args, output),
        VersionsCommand::Promote(args) => (args, "/promote", "takes the calls"),
        VersionsCommand::Pin(args) => (args, "/pin", "is pinned"),
        VersionsCommand::Unpin(args) => (args, "/unpin", "is pinned no more"),
    };
    let admin = Admin::new(options, &args.admin, output)?;
    let reply = block_on(admin.change(&path("plugins", &args.name, end)))?;
    if output.is_json() {
        return output.json(&reply);
    }
    output.line(&format!("{} {done}", text(&reply, "/name")))
}

fn log(options: &SharedOptions, args: &PluginArgs, output: &Output) -> Result<(), CommandFailure> {
    let admin = Admin::new(options, &args.admin, output)?;
    let reply = block_on(admin.read(&path("plugins", &args.name, "/log")))?;
    if output.is_json() {
        return output.json(&reply);
    }
    let now = clock::unix_time().as_secs();
    let entries = reply.get("log").and_then(Json::as_array);
    for entry in entries.into_iter().flatten() {
        output.line(&line(entry, now))?;
    }
    Ok(())
}

/// `  3 min ago  users@2  rolled-back by rule: more calls fail than before: ...`.
pub(super) fn line(entry: &Json, now: u64) -> String {
    let who = match text(entry, "/who").as_str() {
        "" => String::new(),
        who => format!(" {who}"),
    };
    let head = format!(
        "{:>10}  {}  {} by {}{who}",
        ago(entry.get("at").unwrap_or(&Json::Null), now),
        text(entry, "/version"),
        text(entry, "/event"),
        text(entry, "/by"),
    );
    match text(entry, "/why").as_str() {
        "" => head,
        why => format!("{head}: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_entry_reads_like_this() {
        let entry = json!({ "at": 100, "version": "users@2", "event": "rolled-back", "by": "rule", "why": "traps" });
        assert_eq!(
            line(&entry, 112),
            "  12 s ago  users@2  rolled-back by rule: traps"
        );
        let entry = json!({ "at": 100, "version": "users", "event": "pinned", "by": "operator" });
        assert_eq!(line(&entry, 100), "   0 s ago  users  pinned by operator");
        let entry = json!({ "at": 100, "version": "users", "event": "approved", "by": "operator",
                            "who": "uid 1000 (ada)" });
        assert_eq!(
            line(&entry, 100),
            "   0 s ago  users  approved by operator uid 1000 (ada)"
        );
    }
}
