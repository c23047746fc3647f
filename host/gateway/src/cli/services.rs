//! `postern services list|info|drain|undrain`.

use clap::{Args, Subcommand};
use serde_json::Value as Json;

use super::{
    admin::{Admin, AdminArgs, path},
    failure::CommandFailure,
    options::SharedOptions,
    output::Output,
    plugins::text,
    runtime::block_on,
};

#[derive(Debug, Subcommand)]
pub(super) enum ServicesCommand {
    /// Every service: who answers for it, its methods and its calls.
    List(AdminArgs),
    /// One service: its instances, how each does, and what was decided among them.
    Info(ServiceArgs),
    /// Give an instance no new calls, here, until it is undrained.
    Drain(ServiceArgs),
    /// Give a drained instance calls again.
    Undrain(ServiceArgs),
}

#[derive(Debug, Clone, Args)]
pub(super) struct ServiceArgs {
    /// Name of the service, or of the instance as `info` shows it.
    name: String,
    #[command(flatten)]
    admin: AdminArgs,
}

pub(super) fn services(
    options: &SharedOptions,
    command: ServicesCommand,
    output: &Output,
) -> Result<(), CommandFailure> {
    match command {
        ServicesCommand::List(args) => {
            let admin = Admin::new(options, &args, output)?;
            let reply = block_on(admin.read("/services"))?;
            if output.is_json() {
                return output.json(&reply);
            }
            list(&all(&reply), output)
        }
        ServicesCommand::Info(args) => {
            let admin = Admin::new(options, &args.admin, output)?;
            let services = all(&block_on(admin.read("/services"))?);
            let service = services
                .iter()
                .find(|service| text(service, "/name") == args.name);
            let Some(service) = service else {
                let failure = CommandFailure::new(format!("no service {}", args.name));
                return Err(failure.with_remedy("`postern services list` names them"));
            };
            if output.is_json() {
                return output.json(service);
            }
            info(service, output)
        }
        ServicesCommand::Drain(args) => turn(options, &args, "drain", output),
        ServicesCommand::Undrain(args) => turn(options, &args, "undrain", output),
    }
}

fn turn(
    options: &SharedOptions,
    args: &ServiceArgs,
    what: &str,
    output: &Output,
) -> Result<(), CommandFailure> {
    let admin = Admin::new(options, &args.admin, output)?;
    let path = path("instances", &args.name, &format!("/{what}"));
    let reply = block_on(admin.change(&path))?;
    if output.is_json() {
        return output.json(&reply);
    }
    let name = &args.name;
    output.line(&match what {
        "drain" => format!("{name} gets no new calls"),
        _ => format!("{name} gets calls again"),
    })
}

fn all(reply: &Json) -> Vec<Json> {
    let services = reply.get("services").and_then(Json::as_array);
    services.cloned().unwrap_or_default()
}

fn list(services: &[Json], output: &Output) -> Result<(), CommandFailure> {
    let row = |service: &Json| {
        let methods = service.get("methods").and_then(Json::as_array);
        let methods = methods.into_iter().flatten().filter_map(Json::as_str);
        let is_live = service.get("is_live").and_then(Json::as_bool);
        let state = match is_live {
            Some(true) => "live".to_owned(),
            Some(false) | None => text(service, "/reason"),
        };
        let instances = service
            .pointer("/cluster/instances")
            .and_then(Json::as_array);
        vec![
            text(service, "/name"),
            text(service, "/version"),
            text(service, "/plugin"),
            instances.map_or_else(String::new, |all| all.len().to_string()),
            state,
            text(service, "/calls/ended"),
            methods.collect::<Vec<_>>().join(", "),
        ]
    };
    let head = [
        "SERVICE",
        "VERSION",
        "PLUGIN",
        "INSTANCES",
        "STATE",
        "CALLS",
        "METHODS",
    ];
    output.table(&head, services.iter().map(row).collect())
}

fn info(service: &Json, output: &Output) -> Result<(), CommandFailure> {
    let cluster = |key: &str| text(service, &format!("/cluster/{key}"));
    output.line(&format!(
        "{}: balancer {}, {} tries, {} retries, {} hedges, {} waiting",
        text(service, "/name"),
        cluster("balancer"),
        cluster("tries"),
        cluster("retries"),
        cluster("hedges-sent"),
        cluster("waiting"),
    ))?;
    let instances = service
        .pointer("/cluster/instances")
        .and_then(Json::as_array);
    let row = |instance: &Json| {
        let is_ejected = instance.get("ejected").and_then(Json::as_bool);
        vec![
            text(instance, "/instance"),
            text(instance, "/owner"),
            text(instance, "/version"),
            text(instance, "/zone"),
            text(instance, "/weight"),
            text(instance, "/in-flight"),
            text(instance, "/latency-us"),
            text(instance, "/successes"),
            text(instance, "/failures"),
            text(instance, "/breaker"),
            if is_ejected == Some(true) { "yes" } else { "" }.to_owned(),
        ]
    };
    let head = [
        "INSTANCE",
        "OWNER",
        "VERSION",
        "ZONE",
        "WEIGHT",
        "IN FLIGHT",
        "LATENCY US",
        "OK",
        "FAILED",
        "BREAKER",
        "EJECTED",
    ];
    output.table(&head, instances.into_iter().flatten().map(row).collect())?;
    methods(service, output)
}

/// What is said of the methods, if anything is.
fn methods(service: &Json, output: &Output) -> Result<(), CommandFailure> {
    let described = service.get("described").and_then(Json::as_array);
    let Some(described) = described.filter(|described| !described.is_empty()) else {
        return Ok(());
    };
    let row = |method: &Json| {
        let is_idempotent = method.get("idempotent").and_then(Json::as_bool);
        vec![
            text(method, "/name"),
            text(method, "/kind"),
            text(method, "/request"),
            text(method, "/response"),
            if is_idempotent == Some(true) {
                "yes"
            } else {
                ""
            }
            .to_owned(),
            text(method, "/summary"),
        ]
    };
    let head = [
        "METHOD",
        "KIND",
        "REQUEST",
        "RESPONSE",
        "IDEMPOTENT",
        "SUMMARY",
    ];
    output.table(&head, described.iter().map(row).collect())
}
