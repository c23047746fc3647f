//! `postern check`: what `run` would refuse, without running anything.

use std::path::{Path, PathBuf};

use clap::Args;
use postern_wasm::{Inspection, inspect};
use serde_json::{Value as Json, json};

use super::{
    Shared,
    failure::Failure,
    output::{Format, Output},
};
use crate::{
    config::{Config, Faults, Manifest},
    plugins::folder::{self, Package},
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  postern check                    postern.toml if it is there, and the plugins in its folder
  postern check edge.toml
  postern check greeter.wasm       one component and the manifest beside it

Exits with 1 when anything is wrong; --output json lists file, line, column, key and remedy.")]
pub(super) struct CheckArgs {
    /// A configuration file or a component.
    file: Option<PathBuf>,
}

/// What is known of one plugin without running it.
struct Checked {
    name: String,
    result: Result<Inspection, Reason>,
}

enum Reason {
    Manifest(Faults),
    Component(String),
}

pub(super) fn check(shared: &Shared, args: &CheckArgs, output: &Output) -> Result<(), Failure> {
    let component = args
        .file
        .as_deref()
        .filter(|file| file.extension().is_some_and(|end| end == "wasm"));
    if let Some(component) = component {
        let config = shared.load(&[], output)?.config;
        let folder = component
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let folder = folder.unwrap_or_else(|| Path::new("."));
        let name = component.file_stem().unwrap_or_default().to_string_lossy();
        let checked = check_plugin(folder, &name, &config);
        let missing = || Failure::new(format!("{} is not there", component.display()));
        return report(&[checked.ok_or_else(missing)?], output);
    }
    let shared = match &args.file {
        Some(file) => Shared {
            config: Some(file.clone()),
            output: Format::Text,
        },
        None => shared.clone(),
    };
    let loaded = shared.load(&[], output)?;
    if !output.is_json() {
        match &loaded.file {
            Some(file) => output.line(&format!("ok       {}", file.display()))?,
            None => output.line("ok       no postern.toml, the defaults serve")?,
        }
    }
    let folder = &loaded.config.plugins.folder;
    let names = folder::names(folder)
        .map_err(|error| Failure::new(format!("cannot read {}: {error}", folder.display())))?;
    let checked = names
        .iter()
        .filter_map(|name| check_plugin(folder, name, &loaded.config));
    report(&checked.collect::<Vec<_>>(), output)
}

/// `None` when there is no such component.
fn check_plugin(folder: &Path, name: &str, config: &Config) -> Option<Checked> {
    let result = match folder::read(folder, name) {
        Ok(package) => check_package(&package?, config),
        Err(error) => Err(Reason::Component(error.to_string())),
    };
    Some(Checked {
        name: name.to_owned(),
        result,
    })
}

fn check_package(package: &Package, config: &Config) -> Result<Inspection, Reason> {
    if let Some((path, text)) = &package.manifest {
        let manifest = Manifest::parse(&path.display().to_string(), text, config);
        manifest.map_err(Reason::Manifest)?;
    }
    inspect(&package.component).map_err(|refusal| Reason::Component(refusal.to_string()))
}

fn report(checked: &[Checked], output: &Output) -> Result<(), Failure> {
    let refused = checked
        .iter()
        .filter(|checked| checked.result.is_err())
        .count();
    let message = format!("{refused} of {} plugins would be refused", checked.len());
    if output.is_json() {
        let json =
            json!({ "faults": [], "plugins": checked.iter().map(to_json).collect::<Vec<_>>() });
        return match refused {
            0 => output.json(&json),
            _ => Err(Failure {
                json: Some(json),
                ..Failure::new(message)
            }),
        };
    }
    for Checked { name, result } in checked {
        match result {
            Ok(inspection) => {
                let roles: Vec<_> = inspection.roles.iter().map(|role| role.name()).collect();
                output.line(&format!("ok       {name}: {}", roles.join(", ")))?;
            }
            Err(Reason::Component(reason)) => output.line(&format!("refused  {name}: {reason}"))?,
            Err(Reason::Manifest(faults)) => {
                output.line(&format!("refused  {name}: its manifest"))?;
                output.note(&faults.draw(output.colours_errors()));
            }
        }
    }
    if refused > 0 {
        Err(Failure::new(message))
    } else {
        Ok(())
    }
}

fn to_json(checked: &Checked) -> Json {
    let name = &checked.name;
    match &checked.result {
        Ok(inspection) => {
            json!({ "name": name, "ok": true, "roles": inspection.roles, "imports": inspection.imports })
        }
        Err(Reason::Component(reason)) => json!({ "name": name, "ok": false, "reason": reason }),
        Err(Reason::Manifest(faults)) => {
            json!({ "name": name, "ok": false, "faults": faults.to_json() })
        }
    }
}
