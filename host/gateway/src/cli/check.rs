//! `postern check`: what `run` would refuse or serve without, by building all that `run` builds.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value as Json, json};

use super::{
    failure::CommandFailure,
    options::SharedOptions,
    output::{Format, Output},
    run,
    runtime::block_on,
};
use crate::{
    app::{self, Checked},
    config::{Config, Faults, Manifest},
    control::{Missing, PluginView},
    plugins::{folder, signature::Signed},
    proto::ProtoSchema,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern check                    postern.toml if it is there, and the plugins in its folder
  postern check edge.toml
  postern check greeter.wasm       one component and the manifest beside it

Everything is built as `postern run` builds it, key files and plugins included; plugins are asked for
their health. Nothing is bound, and what is written goes to a folder that is removed. Exits with 1
when `postern run` would not start, or would serve without something that is asked for; --output json
lists file, line, column, key and remedy.")]
pub(super) struct CheckArgs {
    /// A configuration file or a component.
    file: Option<PathBuf>,
}

pub(super) fn check(
    options: &SharedOptions,
    args: &CheckArgs,
    output: &Output,
) -> Result<(), CommandFailure> {
    let component = args
        .file
        .as_deref()
        .filter(|file| file.extension().is_some_and(|end| end == "wasm"));
    if let Some(component) = component {
        return check_component(options, component, output);
    }
    let options = match &args.file {
        Some(file) => SharedOptions {
            config: Some(file.clone()),
            output: Format::Text,
        },
        None => options.clone(),
    };
    let loaded = options.load_whole(&[], output)?;
    let checked = block_on(async {
        let checked = Box::pin(app::check(&loaded)).await;
        checked.map_err(|error| run::failure(&error))
    })?;
    if !output.is_json() {
        match &loaded.file {
            Some(file) => output.line(&format!("ok       {}", file.display()))?,
            None => output.line("ok       no postern.toml, the defaults serve")?,
        }
    }
    report(&checked, &loaded.config, output)
}

fn check_component(
    options: &SharedOptions,
    component: &Path,
    output: &Output,
) -> Result<(), CommandFailure> {
    let loaded = options.load_whole(&[], output)?;
    let folder = component
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| Path::new("."));
    let name = component.file_stem().unwrap_or_default().to_string_lossy();
    let missing = || CommandFailure::new(format!("{} is not there", component.display()));
    let package =
        folder::read(folder, &name).map_err(|error| CommandFailure::new(error.to_string()))?;
    let package = package.ok_or_else(missing)?;
    let plugin = block_on(async {
        let checked = Box::pin(app::check_component(&loaded, &name, package)).await;
        checked.map_err(|error| run::failure(&error))
    })?;
    let plugin = plugin.ok_or_else(missing)?;
    let refusal = plugin.refusal.iter().map(|refusal| Missing {
        subject: subject(&name),
        reason: refusal.reason.clone(),
    });
    let checked = Checked {
        missing: refusal.collect(),
        plugins: vec![plugin],
        warnings: Vec::new(),
    };
    let mut config = loaded.config;
    folder.clone_into(&mut config.plugins.folder);
    report(&checked, &config, output)
}

fn report(checked: &Checked, config: &Config, output: &Output) -> Result<(), CommandFailure> {
    let Checked {
        plugins,
        missing,
        warnings,
    } = checked;
    let message = match missing.as_slice() {
        [_] => "1 thing that is asked for would be missing".to_owned(),
        missing => format!(
            "{} things that are asked for would be missing",
            missing.len()
        ),
    };
    if output.is_json() {
        let plugins = plugins.iter().map(|plugin| to_json(plugin, config));
        let json = json!({
            "faults": [],
            "warnings": warnings,
            "plugins": plugins.collect::<Vec<_>>(),
            "missing": missing
                .iter()
                .map(|missing| json!({ "subject": missing.subject, "reason": missing.reason }))
                .collect::<Vec<_>>(),
        });
        return match missing.is_empty() {
            true => output.json(&json),
            false => Err(CommandFailure {
                json: Some(json),
                ..CommandFailure::new(message)
            }),
        };
    }
    for plugin in plugins.iter().filter(|plugin| plugin.refusal.is_none()) {
        let roles = plugin.roles.join(", ");
        let signed = plugin.signature.as_ref().map(signed_by);
        let signed = signed.unwrap_or_default();
        output.line(&format!("ok       {}: {roles}{signed}", plugin.name))?;
    }
    for warning in warnings {
        output.line(&format!("warning  {warning}"))?;
    }
    for Missing { subject, reason } in missing {
        let name = subject.strip_prefix(PLUGIN);
        match name.and_then(|name| Some((name, faults_of(name, config)?))) {
            Some((name, (what, faults))) => {
                output.line(&format!("refused  {PLUGIN}{name}: its {what}"))?;
                output.note(&faults.draw(output.colours_errors()));
            }
            None => output.line(&format!("refused  {subject}: {reason}"))?,
        }
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(CommandFailure::new(message)),
    }
}

/// What is wrong with a plugin's manifest, or else its schema, with the places in their texts.
fn faults_of(name: &str, config: &Config) -> Option<(&'static str, Faults)> {
    let package = folder::read(&config.plugins.folder, name).ok()??;
    if let Some((path, text)) = package.manifest
        && let Err(faults) = Manifest::parse(&path.display().to_string(), &text, config)
    {
        return Some(("manifest", faults));
    }
    let schema = ProtoSchema::of_deployment(package.schema.as_ref(), &package.component);
    Some(("schema", schema.err()?))
}

fn to_json(plugin: &PluginView, config: &Config) -> Json {
    let name = &plugin.name;
    let Some(refusal) = &plugin.refusal else {
        let signature = &plugin.signature;
        return json!({ "name": name, "ok": true, "roles": plugin.roles, "signature": signature });
    };
    let mut json = json!({ "name": name, "ok": false, "reason": refusal.reason });
    if let (Some((_, faults)), Some(object)) = (faults_of(name, config), json.as_object_mut()) {
        object.insert("faults".to_owned(), faults.to_json());
    }
    json
}

/// `; signed by KEY (COMMENT)`, for the component and its manifest.
fn signed_by(signed: &Signed) -> String {
    let files = [
        ("signed", &signed.component),
        ("manifest signed", &signed.manifest),
    ];
    let files = files.into_iter().filter_map(|(what, file)| {
        let file = file.as_ref()?;
        let comment = file.comment.replace(char::is_control, " ");
        Some(format!("; {what} by {} ({comment})", file.key))
    });
    files.collect()
}

fn subject(name: &str) -> String {
    format!("{PLUGIN}{name}")
}

/// Before the name of a plugin, where it is what is missing.
const PLUGIN: &str = "plugin ";
