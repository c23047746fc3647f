//! What is to be registered, what is, and what is to be done about the difference. Pure.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::config::{Consul, ConsulCheck};

/// What an agent is told of one service, in the form that velithon 0.6.0 reads and writes: the id is
/// `NAME-HOST:PORT`, the weight a tag. Its reader takes whole numbers only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Registration {
    pub(super) id: String,
    pub(super) service: String,
    host: String,
    port: u16,
    weight: u32,
    check: CheckForm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum CheckForm {
    Ttl { ttl: Duration },
    Tcp { interval: Duration },
    Http { url: String, interval: Duration },
}

/// A service that is, or is to be, registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    Register(Registration),
    /// Tells that it is well, or asks whether it is still known.
    Renew(Registration),
    Deregister {
        id: String,
    },
}

impl Registration {
    pub(super) fn new(consul: &Consul, service: &str, (host, port): (&str, u16)) -> Self {
        let interval = consul.check_interval;
        Self {
            id: format!("{service}-{}", authority(host, port)),
            service: service.to_owned(),
            host: host.to_owned(),
            port,
            weight: consul.weight_of(service),
            check: match consul.check {
                ConsulCheck::Ttl => CheckForm::Ttl { ttl: consul.ttl },
                ConsulCheck::Tcp => CheckForm::Tcp { interval },
                ConsulCheck::Http => CheckForm::Http {
                    url: consul.check_url.clone().unwrap_or_default(),
                    interval,
                },
            },
        }
    }

    /// Whether the gateway tells that it is well.
    pub(super) const fn is_told(&self) -> bool {
        matches!(self.check, CheckForm::Ttl { .. })
    }

    /// The id of its check, as the agent makes it of the service's.
    pub(super) fn check_id(&self) -> String {
        format!("service:{}", self.id)
    }

    /// Host as it is registered.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// The body of `PUT /v1/agent/service/register`. Until the first check the service counts as well: it
    /// is registered once its listener is open.
    pub(super) fn body(&self, deregister_after: Duration) -> Value {
        let millis = |duration: &Duration| format!("{}ms", duration.as_millis());
        let mut check = match &self.check {
            CheckForm::Ttl { ttl } => json!({ "TTL": millis(ttl) }),
            CheckForm::Tcp { interval } => {
                let address = authority(&self.host, self.port);
                json!({ "TCP": address, "Interval": millis(interval) })
            }
            CheckForm::Http { url, interval } => {
                json!({ "HTTP": url, "Interval": millis(interval) })
            }
        };
        if let Some(check) = check.as_object_mut() {
            check.insert("Status".to_owned(), json!("passing"));
            let after = millis(&deregister_after);
            check.insert("DeregisterCriticalServiceAfter".to_owned(), json!(after));
        }
        json!({
            "ID": self.id,
            "Name": self.service,
            "Address": self.host,
            "Port": self.port,
            "Tags": [format!("weight={}", self.weight)],
            "Weights": { "Passing": self.weight, "Warning": 1 },
            "Check": check,
        })
    }
}

/// An IPv6 address stands in brackets.
fn authority(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// What makes `registered`, by id, what is `wanted`. What goes goes first, so that an address that changes is
/// never there twice.
pub(super) fn steps(
    wanted: &[Registration],
    registered: &BTreeMap<String, Registration>,
) -> Vec<Step> {
    let is_wanted = |id: &String| wanted.iter().any(|one| one.id == *id);
    let gone = registered.keys().filter(|id| !is_wanted(id));
    let gone = gone.map(|id| Step::Deregister { id: id.clone() });
    let there = wanted.iter().map(|one| match registered.get(&one.id) {
        Some(same) if same == one => Step::Renew(one.clone()),
        Some(_) | None => Step::Register(one.clone()),
    });
    gone.chain(there).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Pairs;

    fn consul() -> Consul {
        Consul {
            weights: Pairs([("users".to_owned(), 3)].into()),
            ..Consul::default()
        }
    }

    fn registration(service: &str) -> Registration {
        Registration::new(&consul(), service, ("10.0.0.7", 9191))
    }

    #[test]
    fn a_service_is_registered_as_velithon_reads_it() {
        let after = Duration::from_secs(600);
        let expected = json!({
            "ID": "users-10.0.0.7:9191", "Name": "users", "Address": "10.0.0.7", "Port": 9191,
            "Tags": ["weight=3"], "Weights": { "Passing": 3, "Warning": 1 },
            "Check": { "TTL": "30000ms", "Status": "passing", "DeregisterCriticalServiceAfter": "600000ms" },
        });
        assert_eq!(registration("users").body(after), expected);
        assert_eq!(
            registration("users").check_id(),
            "service:users-10.0.0.7:9191"
        );
        assert_eq!(
            registration("orders").body(after)["Tags"],
            json!(["weight=1"])
        );
        let tcp = Consul {
            check: ConsulCheck::Tcp,
            ..consul()
        };
        let tcp = Registration::new(&tcp, "users", ("::1", 9191));
        assert_eq!((&*tcp.id, tcp.is_told()), ("users-[::1]:9191", false));
        let check = &tcp.body(after)["Check"];
        assert_eq!(
            (&check["TCP"], &check["Interval"]),
            (&json!("[::1]:9191"), &json!("10000ms"))
        );
        let http = Consul {
            check: ConsulCheck::Http,
            check_url: Some("http://a/readyz".to_owned()),
            ..consul()
        };
        let http = Registration::new(&http, "users", ("a", 1));
        assert_eq!(http.body(after)["Check"]["HTTP"], json!("http://a/readyz"));
    }

    #[test]
    fn what_is_there_is_renewed_what_is_new_or_changed_registered_and_the_rest_goes_first() {
        let [users, orders] = ["users", "orders"].map(registration);
        let old = Registration::new(&consul(), "users", ("10.0.0.8", 9191));
        let registered = BTreeMap::from([
            (users.id.clone(), users.clone()),
            (old.id.clone(), old.clone()),
        ]);
        let wanted = [users.clone(), orders.clone()];
        let expected = [
            Step::Deregister { id: old.id },
            Step::Renew(users.clone()),
            Step::Register(orders),
        ];
        assert_eq!(steps(&wanted, &registered), expected);
        let heavier = Registration { weight: 9, ..users };
        let expected = [Step::Register(heavier.clone())];
        assert_eq!(
            steps(
                std::slice::from_ref(&heavier),
                &BTreeMap::from([(heavier.id.clone(), registration("users"))])
            ),
            expected
        );
        assert_eq!(steps(&[], &BTreeMap::new()), []);
    }
}
