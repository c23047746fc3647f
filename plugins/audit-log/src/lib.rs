//! One line for each call: who, what, outcome, time; and on request the same as an event.

use postern_guest::{
    Plugin, Request, Response, ResponseInterceptor, Result, call, config, events,
    log::{self, Level},
};
use serde::{Deserialize, Serialize};

const TOPIC: &str = "audit.call";

struct AuditLog {
    /// Names; one that ends in `*` stands for all that begin so. All when empty.
    services: Vec<String>,
    level: Level,
    publish: bool,
}

/// What is known of a call once it has ended.
#[derive(Debug, Serialize)]
struct Entry {
    service: String,
    method: String,
    /// Absent where nobody has said who calls.
    principal: Option<String>,
    transport: String,
    address: Option<String>,
    correlation_id: String,
    /// `ok`, or the kind of the failure.
    outcome: &'static str,
    /// Since the call came in.
    micros: u64,
}

impl Plugin for AuditLog {
    fn start() -> Result<Self> {
        Ok(Self {
            services: config::get("services")?.unwrap_or_default(),
            level: config::get("level")?.map_or(Level::Info, |name: LevelName| name.into()),
            publish: config::get("publish")?.unwrap_or(false),
        })
    }
}

impl ResponseInterceptor for AuditLog {
    fn on_response(&mut self, request: &Request, response: &mut Response) -> Result<()> {
        let service = request.service();
        let logged = log::enabled(self.level);
        if !(logged || self.publish) || !self.covers(&service) {
            return Ok(());
        }
        let entry = Entry::of(service, request, response);
        if logged {
            log::write(self.level, "call", &entry.fields());
        }
        if self.publish
            && let Err(failure) = events::publish(TOPIC, &entry)
        {
            // The call is not to suffer from it.
            postern_guest::warn!(topic = TOPIC, "event not published: {failure}");
        }
        Ok(())
    }
}

postern_guest::export!(AuditLog: ResponseInterceptor);

impl AuditLog {
    fn covers(&self, service: &str) -> bool {
        let matches = |name: &String| match name.strip_suffix('*') {
            Some(begin) => service.starts_with(begin),
            None => service == name,
        };
        self.services.is_empty() || self.services.iter().any(matches)
    }
}

impl Entry {
    fn of(service: String, request: &Request, response: &Response) -> Self {
        let peer = call::peer();
        Self {
            service,
            method: request.method(),
            principal: call::principal().map(|principal| principal.name),
            transport: peer.transport,
            address: peer.address,
            correlation_id: call::correlation_id(),
            outcome: response
                .failed()
                .map_or("ok", |failure| failure.kind.name()),
            micros: u64::try_from(response.elapsed().as_micros()).unwrap_or(u64::MAX),
        }
    }

    /// As fields of a line; what is absent has none.
    fn fields(&self) -> Vec<(String, String)> {
        let field = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut fields = vec![
            field("service", &self.service),
            field("method", &self.method),
            field("transport", &self.transport),
            field("correlation_id", &self.correlation_id),
            field("outcome", self.outcome),
            field("micros", &self.micros.to_string()),
        ];
        let known = [("principal", &self.principal), ("address", &self.address)];
        for (name, value) in known {
            fields.extend(value.as_deref().map(|value| field(name, value)));
        }
        fields
    }
}

/// A level, as the manifest names it.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum LevelName {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::Trace => Self::Trace,
            LevelName::Debug => Self::Debug,
            LevelName::Info => Self::Info,
            LevelName::Warn => Self::Warn,
            LevelName::Error => Self::Error,
        }
    }
}

#[cfg(test)]
mod tests;
