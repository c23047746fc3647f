//! `postern component`.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{failure::CommandFailure, output::Output};
use crate::build::{ComponentReport, InspectionError, inspect};

#[derive(Debug, Subcommand)]
pub(super) enum ComponentCommand {
    /// Tell roles, imports, size and makers of a component, and what keeps it from being served.
    Inspect(ComponentInspectArgs),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern component inspect greeter.wasm
  postern component inspect --output json other.wasm

The file is read and not run, whoever made it. It need not be a plugin: what is missing for that is
said last. `postern check greeter.wasm` compiles it, too, and asks for its health.")]
pub(super) struct ComponentInspectArgs {
    /// The component's file.
    file: PathBuf,
}

pub(super) fn component(command: &ComponentCommand, output: &Output) -> Result<(), CommandFailure> {
    let ComponentCommand::Inspect(ComponentInspectArgs { file }) = command;
    let shown = file.display();
    let octets = fs::read(file)
        .map_err(|error| CommandFailure::new(format!("cannot read {shown}: {error}")))?;
    let report = inspect(&octets).map_err(|error| {
        let failure = CommandFailure::new(format!("{shown}: {error}"));
        match error {
            InspectionError::CoreModule => failure.with_remedy(
                "`postern build` makes a component of it; so does `wasm-tools component new`",
            ),
            InspectionError::NoWasm(_)
            | InspectionError::WitPackage
            | InspectionError::Unreadable(_) => failure,
        }
    })?;
    match output.is_json() {
        true => output.json(&to_json(&report)),
        false => tell(&report, output),
    }
}

fn tell(report: &ComponentReport, output: &Output) -> Result<(), CommandFailure> {
    let modules = match report.modules {
        1 => "1 core module".to_owned(),
        n_modules => format!("{n_modules} core modules"),
    };
    let roles: Vec<_> = report.roles.iter().map(|role| role.name()).collect();
    let mut facts = vec![
        (
            "size",
            format!("{} KiB, {modules}", report.octets.div_ceil(1024)),
        ),
        ("roles", or_none(&roles.join(", "))),
    ];
    if !report.producers.contains_key("language") {
        facts.push((
            "language",
            "unknown: no section `producers` says it".to_owned(),
        ));
    }
    for (field, made_by) in &report.producers {
        let made_by = made_by.iter();
        let made_by = made_by.map(|(name, version)| format!("{name} {version}"));
        let made_by: Vec<_> = made_by
            .map(|made_by| made_by.trim_end().to_owned())
            .collect();
        facts.push((field.as_str(), made_by.join(", ")));
    }
    if !report.other_exports.is_empty() {
        facts.push(("exports", report.other_exports.join(", ")));
    }
    if let Some(why) = report.answers_once {
        facts.push(("instances", format!("one for each request: {why}")));
    }
    for (fact, value) in facts {
        output.line(&format!("{fact:<14}{value}"))?;
    }
    if report.imports.is_empty() {
        output.line(&format!("{:<14}none", "imports"))?;
    }
    for (index, import) in report.imports.iter().enumerate() {
        let fact = if index == 0 { "imports" } else { "" };
        let fault = import
            .fault
            .map_or_else(|| "offered".to_owned(), |fault| fault.to_string());
        output.line(&format!("{fact:<14}{}  {fault}", import.name))?;
    }
    if report.missing.is_empty() {
        return output.line(&format!("{:<14}nothing", "missing"));
    }
    for (index, missing) in report.missing.iter().enumerate() {
        let fact = if index == 0 { "missing" } else { "" };
        output.line(&format!("{fact:<14}{missing}"))?;
    }
    Ok(())
}

fn or_none(list: &str) -> String {
    if list.is_empty() { "none" } else { list }.to_owned()
}

fn to_json(report: &ComponentReport) -> serde_json::Value {
    let imports = report.imports.iter().map(|import| {
        json!({
            "name": import.name,
            "offered": import.fault.is_none(),
            "reason": import.fault.map(|fault| fault.to_string()),
        })
    });
    let producers = report.producers.iter().map(|(field, made_by)| {
        let made_by = made_by.iter();
        let made_by = made_by.map(|(name, version)| json!({ "name": name, "version": version }));
        (field.clone(), made_by.collect())
    });
    json!({
        "octets": report.octets,
        "modules": report.modules,
        "roles": report.roles,
        "exports": report.other_exports,
        "imports": imports.collect::<Vec<_>>(),
        "answers-once": report.answers_once,
        "producers": producers.collect::<serde_json::Map<_, _>>(),
        "missing": report.missing,
        "serves": report.missing.is_empty(),
    })
}
