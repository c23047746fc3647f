//! `postern plugins approve`, and what `info` shows of signatures and of versions that are held.

use clap::Args;
use serde_json::Value as Json;

use super::{
    admin::{Admin, AdminArgs, path},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugins::text,
    runtime::block_on,
};
use crate::{plugins::trust::is_digest_start, printed};

#[derive(Debug, Clone, Args)]
#[command(after_help = "\
Examples:
  postern plugins info users                       shows what is held, and what it asks for
  postern plugins approve users --digest 5f2b91c0  approves that, and nothing that came after

An approval is of exactly the component and the manifest that are held.")]
pub(super) struct ApproveArgs {
    /// NAME, NAME@VERSION, or NAME@ for the version without a name. NAME alone is the version of it that is held.
    name: String,
    /// How the digest begins that `info` shows below `held`; something else that is held meanwhile is not
    /// approved. At least 8 digits.
    #[arg(long, value_name = "DIGITS", value_parser = digits)]
    digest: Option<String>,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn approve(
    options: &SharedOptions,
    args: &ApproveArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let admin = Admin::new(options, &args.admin, output)?;
    let reply = block_on(async {
        let digest = match &args.digest {
            Some(digest) => digest.clone(),
            // What is held at this moment, and nothing that comes between the two requests.
            None => {
                let plugin = admin.read(&path("plugins", &args.name, "")).await?;
                held_digest(&args.name, &plugin)?
            }
        };
        let end = format!("/approve?digest={digest}");
        admin.change(&path("plugins", &args.name, &end)).await
    })?;
    if output.is_json() {
        return output.json(&reply);
    }
    output.line(&format!(
        "{}: approved {}, generation {} takes the calls",
        text(&reply, "/plugin/name"),
        short(&text(&reply, "/digest")),
        text(&reply, "/plugin/generation"),
    ))?;
    for growth in strings(&reply, "growth") {
        output.line(&format!("    {growth}"))?;
    }
    Ok(())
}

/// The digest of what is held. Where nothing is, nothing is approved: something may come to be held before the
/// next request.
fn held_digest(name: &str, plugin: &Json) -> Result<String, CommandFailure> {
    let beside = plugin.get("held_versions").and_then(Json::as_array);
    let own = plugin.get("held").filter(|held| held.is_object());
    let held: Vec<_> = own
        .into_iter()
        .chain(beside.into_iter().flatten())
        .collect();
    match held.as_slice() {
        [] => Err(CommandFailure::new(format!(
            "nothing of plugin {name} is held"
        ))),
        [held] => Ok(text(held, "/digest")),
        several => {
            let told = |held: &&Json| {
                let digest = short(&text(held, "/digest"));
                format!("{} ({digest})", text(held, "/version"))
            };
            let told: Vec<_> = several.iter().map(told).collect();
            let message = format!("several versions are held: {}", told.join(", "));
            Err(CommandFailure::new(message).with_remedy("name one of them, or say --digest"))
        }
    }
}

/// `5f2b91c0aa31: approve with ...`, and a line for each thing that is asked for.
pub(super) fn held_lines(held: &Json) -> String {
    let digest = short(&text(held, "/digest"));
    let growth = strings(held, "growth").into_iter();
    let growth = growth.map(|growth| format!("\n    {growth}"));
    format!(
        "{digest}, asks for more than what serves{}",
        growth.collect::<String>()
    )
}

/// The same of each other version, below its name.
pub(super) fn held_versions_lines(versions: &[Json]) -> String {
    let lines = versions.iter().map(|held| {
        let lines = held_lines(held).replace('\n', "\n    ");
        format!("\n    {} {lines}", text(held, "/version"))
    });
    lines.collect()
}

/// A line for each file that is signed: key, then comment.
pub(super) fn signature_lines(signature: &Json) -> String {
    let files = ["component", "manifest"].into_iter().filter_map(|file| {
        let signed = signature.get(file)?;
        let (key, comment) = (text(signed, "/key"), text(signed, "/comment"));
        Some(format!(
            "\n    {file} by {key}: {}",
            printed::plain(&comment)
        ))
    });
    files.collect()
}

fn strings(json: &Json, key: &str) -> Vec<String> {
    let items = json.get(key).and_then(Json::as_array);
    let items = items.into_iter().flatten().filter_map(Json::as_str);
    items.map(str::to_owned).collect()
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

fn digits(text: &str) -> Result<String, String> {
    match is_digest_start(text) {
        true => Ok(text.to_owned()),
        false => {
            Err("write 8 to 64 of the digits 0-9 and a-f that `plugins info` shows".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_held_and_who_signed_read_like_this() {
        let held = json!({ "digest": "5f2b91c0aa3177", "growth": ["grants.kv: \"s\""] });
        assert_eq!(
            held_lines(&held),
            "5f2b91c0aa31, asks for more than what serves\n    grants.kv: \"s\""
        );
        let versions =
            [json!({ "version": "users@2", "digest": "5f2b91c0aa3177", "growth": ["a: 1"] })];
        assert_eq!(
            held_versions_lines(&versions),
            "\n    users@2 5f2b91c0aa31, asks for more than what serves\n        a: 1"
        );
        let signature =
            json!({ "component": { "key": "E762", "comment": "timestamp:7\tfile:a\u{1b}" } });
        assert_eq!(
            signature_lines(&signature),
            "\n    component by E762: timestamp:7 file:a "
        );
    }

    #[test]
    fn where_nothing_is_held_nothing_is_named_to_be_approved() {
        let held = json!({ "held": { "digest": "5f2b91c0aa3177" } });
        assert_eq!(
            held_digest("users", &held).expect("it is held"),
            "5f2b91c0aa3177"
        );
        for nothing in [json!({}), json!({ "held": null })] {
            assert!(held_digest("users", &nothing).is_err(), "{nothing}");
        }
        let beside = json!({ "version": "users@2", "digest": "5f2b91c0aa3178" });
        let one = json!({ "held_versions": [beside] });
        assert_eq!(
            held_digest("users", &one).expect("it is held"),
            "5f2b91c0aa3178"
        );
        let two = json!({ "held": held["held"], "held_versions": [beside] });
        assert!(held_digest("users", &two).is_err(), "which one is not said");
    }

    #[test]
    fn a_digest_is_long_enough_to_mean_one_version() {
        assert!(digits("5f2b91c0").is_ok());
        for refused in ["5f2b91c", "5F2B91C0", "5f2b91c0?x", ""] {
            assert!(digits(refused).is_err(), "{refused}");
        }
    }
}
