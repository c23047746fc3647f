//! Which publishes are calls: those of `[mqtt.routes]`, and those to `$call/SERVICE/METHOD`. Pure.

use postern_core::{Error, Text, json};

use crate::config::{MqttRoutes, RouteLevel, TopicRoute};

/// All publishes that are calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct TopicRoutes {
    routes: MqttRoutes,
    /// Whether any method may be called by its name.
    takes_names: bool,
}

/// The method that a publish calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RoutedCall {
    pub service: Text,
    pub method: Text,
    /// Levels that have names, in the order of the topic.
    pub params: Vec<(Text, String)>,
}

impl TopicRoutes {
    #[must_use]
    pub(crate) fn new(routes: MqttRoutes, takes_names: bool) -> Self {
        Self {
            routes,
            takes_names,
        }
    }

    /// What a publish to `topic` calls; `None` where it is no call.
    #[must_use]
    pub(crate) fn find(&self, topic: &str) -> Option<RoutedCall> {
        if let Some(name) = topic.strip_prefix(CALL_TOPICS) {
            let (service, method) = name.rsplit_once('/').filter(|_| self.takes_names)?;
            let is_named = !service.is_empty() && !method.is_empty();
            return is_named.then(|| RoutedCall {
                service: service.into(),
                method: method.into(),
                params: Vec::new(),
            });
        }
        // The most specific comes first.
        let mut routes = self.routes.0.iter();
        routes.find_map(|route| {
            params(route, topic).map(|params| RoutedCall {
                service: route.service.clone(),
                method: route.method.clone(),
                params,
            })
        })
    }
}

impl RoutedCall {
    /// The payload with the parameters as members, where it is one JSON object or nothing; `None` where
    /// it stays as it is.
    ///
    /// # Errors
    /// A member that says another value than the topic: whoever may use the topic may not mean another.
    pub(crate) fn body(&self, payload: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        if self.params.is_empty() {
            return Ok(None);
        }
        let trimmed = payload.trim_ascii();
        let object = trimmed.strip_prefix(b"{");
        let inner = match object.and_then(|object| object.strip_suffix(b"}")) {
            Some(inner) => inner.trim_ascii(),
            None if trimmed.is_empty() => trimmed,
            None => return Ok(None),
        };
        let mut said = vec![false; self.params.len()];
        let mut conflict = None;
        if !trimmed.is_empty() {
            let visited = json::visit_members(trimmed, &mut |key, value| {
                let key = json::string(key).unwrap_or_default();
                let pairs = self.params.iter().zip(&mut said);
                for ((name, param), is_said) in pairs.filter(|((name, _), _)| **name == *key) {
                    let is_same =
                        value == param.as_bytes() || json::string(value).as_ref() == Some(param);
                    *is_said = true;
                    if !is_same {
                        conflict = Some(name);
                    }
                }
            });
            // What is no JSON is for the service to refuse.
            if visited.is_err() {
                return Ok(None);
            }
        }
        if let Some(name) = conflict {
            let message = format!("{name:?} has one value in the topic and another in the payload");
            return Err(Error::invalid_argument(message));
        }
        let left = self.params.iter().zip(said).filter(|(_, is_said)| !is_said);
        Ok(Some(with_members(left.map(|(param, _)| param), inner)))
    }
}

/// An object of `params` and of the members that stand in `inner`.
fn with_members<'a>(params: impl Iterator<Item = &'a (Text, String)>, inner: &[u8]) -> Vec<u8> {
    let mut object = vec![b'{'];
    for (name, value) in params {
        if object.len() > 1 {
            object.push(b',');
        }
        json::push_string(&mut object, name);
        object.push(b':');
        json::push_string(&mut object, value);
    }
    if object.len() > 1 && !inner.is_empty() {
        object.push(b',');
    }
    object.extend_from_slice(inner);
    object.push(b'}');
    object
}

/// The levels that have names; `None` where the route does not take the topic.
fn params(route: &TopicRoute, topic: &str) -> Option<Vec<(Text, String)>> {
    if topic.starts_with('$') {
        // Signs take no topic of the broker's own, and routes name none.
        return None;
    }
    let mut found = Vec::new();
    let mut rest = Some(topic);
    for level in &route.levels {
        match level {
            RouteLevel::Rest(name) => {
                if let Some(name) = name {
                    found.push((name.clone(), rest.unwrap_or_default().to_owned()));
                }
                return Some(found);
            }
            RouteLevel::Literal(_) | RouteLevel::One(_) => {}
        }
        let (next, after) = match rest?.split_once('/') {
            Some((next, after)) => (next, Some(after)),
            None => (rest?, None),
        };
        match level {
            RouteLevel::Literal(text) if text != next => return None,
            RouteLevel::One(Some(name)) => found.push((name.clone(), next.to_owned())),
            RouteLevel::Literal(_) | RouteLevel::One(None) | RouteLevel::Rest(_) => {}
        }
        rest = after;
    }
    rest.is_none().then_some(found)
}

/// How topics begin that name a service and a method.
pub(crate) const CALL_TOPICS: &str = "$call/";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn routes(pairs: &str) -> TopicRoutes {
        let text = format!("[mqtt.routes]\n{pairs}");
        let (config, _) = config::parse("t", &text, &Default::default()).expect("good");
        TopicRoutes::new(config.mqtt.routes, true)
    }

    #[track_caller]
    fn check(topic: &str, expected: Option<(&str, &[(&str, &str)])>) {
        let routes = routes(
            "\"devices/+id/cmd/+name\" = \"devices/Run\"\n\
             \"devices/one/cmd/+\" = \"devices/One\"\n\
             \"log/#rest\" = \"log/Take\"\n",
        );
        let found = routes.find(topic);
        let shown = found.as_ref().map(|call| {
            let params = call.params.iter();
            let params: Vec<_> = params
                .map(|(name, value)| (name.as_str(), value.as_str()))
                .collect();
            (format!("{}/{}", call.service, call.method), params)
        });
        let expected = expected.map(|(name, params)| (name.to_owned(), params.to_vec()));
        assert_eq!(shown, expected, "{topic}");
    }

    #[test]
    fn levels_with_names_become_parameters() {
        let both: &[_] = &[("id", "7"), ("name", "stop")];
        check("devices/7/cmd/stop", Some(("devices/Run", both)));
        check("devices/one/cmd/stop", Some(("devices/One", &[])));
        check("devices/7/cmd", None);
        check("devices/7/cmd/a/b", None);
        check("log", Some(("log/Take", &[("rest", "")])));
        check("log/a/b", Some(("log/Take", &[("rest", "a/b")])));
        check("logs", None);
    }

    #[test]
    fn any_method_has_a_topic() {
        check("$call/users/GetUser", Some(("users/GetUser", &[])));
        check("$call/a/b/c", Some(("a/b/c", &[])));
        for topic in ["$call/users", "$call//x", "$call/x/", "$SYS/log/x"] {
            check(topic, None);
        }
        let closed = TopicRoutes::new(MqttRoutes::default(), false);
        assert_eq!(closed.find("$call/users/GetUser"), None);
    }

    #[test]
    fn parameters_are_added_to_an_object_and_to_nothing_else() {
        let call = RoutedCall {
            service: "s".into(),
            method: "m".into(),
            params: vec![("id".into(), "7\"".to_owned())],
        };
        for (payload, expected) in [
            ("", Some("{\"id\":\"7\\\"\"}")),
            (" {} ", Some("{\"id\":\"7\\\"\"}")),
            ("{\"a\":1}", Some("{\"id\":\"7\\\"\",\"a\":1}")),
            ("{\"id\":\"7\\\"\"}", Some("{\"id\":\"7\\\"\"}")),
            ("[1]", None),
            ("{\"a\":}", None),
            ("plain", None),
        ] {
            let body = call.body(payload.as_bytes()).expect(payload);
            let body = body.map(|body| String::from_utf8(body).expect("text"));
            assert_eq!(body.as_deref(), expected, "{payload}");
        }
        let refused = call.body(b"{\"id\":\"8\"}").expect_err("another value");
        assert_eq!(refused.kind, postern_core::Kind::InvalidArgument);
    }
}
