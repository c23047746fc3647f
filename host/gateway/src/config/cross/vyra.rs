//! Functions and modules of VYRA whose names are none, or that lack what their kind needs.

use std::collections::BTreeMap;

use postern_core::{event::check_topic, vyra::VyraModule};

use super::{Config, SectionReader};
use crate::config::{VyraFunction, VyraKind, VyraPeer};

pub(super) fn check(config: &Config, reader: &mut SectionReader) {
    let vyra = &config.vyra;
    if !vyra.is_on() {
        return;
    }
    check_store(config, reader);
    let Ok(module) = vyra.own_module() else {
        // Told where each part is read.
        return;
    };
    let mut topics = BTreeMap::new();
    for (name, function) in &vyra.functions {
        check_function(&module, name, function, &mut topics, reader);
    }
    for (name, peer) in &vyra.peers {
        check_peer(name, peer, reader);
    }
}

fn check_store(config: &Config, reader: &mut SectionReader) {
    let stores = config.redis_stores();
    let key = "vyra.store";
    match (&config.vyra.store, stores.as_slice()) {
        (Some(store), known) if !known.contains(&store.as_str()) => {
            let remedy = match super::suggest(store, known) {
                Some(similar) => format!("did you mean {similar:?}?"),
                None => "write [stores.NAME] with the URL of a Redis".to_owned(),
            };
            reader.fault_of_key(
                key,
                format!("no store of Redis is called {store:?}"),
                remedy,
            );
        }
        (None, []) if config.vyra.uses_redis() => {
            let remedy = "write [stores.NAME] with the URL of a Redis, or over = \"sockets\"";
            reader.fault_of_table("vyra", "there is no Redis to speak over", remedy);
        }
        (None, [_, _, ..]) if config.vyra.uses_redis() => {
            let message = format!("there are several stores of Redis: {}", stores.join(", "));
            reader.fault_of_table("vyra", message, "write store = \"NAME\"");
        }
        (Some(_), _) | (None, _) => {}
    }
}

fn check_function(
    module: &VyraModule,
    name: &str,
    function: &VyraFunction,
    topics: &mut BTreeMap<String, String>,
    reader: &mut SectionReader,
) {
    let path = format!("vyra.functions.{name}");
    let topic = match function.vyra_topic(module, name) {
        Ok(topic) => topic,
        Err(error) => {
            let message = format!("the topic of this function is none: {error}");
            let remedy = "write function, namespace and subsection in letters, digits and _";
            return reader.fault_of_table(&path, message, remedy);
        }
    };
    if let Some(other) = topics.insert(topic.to_string(), name.to_owned()) {
        let message = format!("its topic {topic} is that of {other:?}");
        reader.fault_of_table(&path, message, "let function or namespace differ");
    }
    let is_call = matches!(function.kind, VyraKind::Request | VyraKind::Goal);
    if is_call && function.service.is_none() {
        let remedy = "write service = \"NAME\"";
        reader.fault_of_table(&path, "it calls no service", remedy);
    }
    if function.kind == VyraKind::Publish && function.topics.is_empty() {
        let remedy = "write topics = [\"orders.>\"]";
        reader.fault_of_table(&path, "it has no topics to publish", remedy);
    }
    if function.over.is_empty() {
        let key = format!("{path}.over");
        reader.fault_of_key(&key, "nothing is left to speak over", "write [\"redis\"]");
    }
    let is_goal_over_sockets = function.kind == VyraKind::Goal
        && function
            .over
            .contains(&crate::config::VyraTransport::Sockets);
    if is_goal_over_sockets {
        let key = format!("{path}.over");
        let message = "goals are spoken over Redis alone: its sockets have no pattern for them";
        reader.fault_of_key(&key, message, "write over = [\"redis\"]");
    }
}

fn check_peer(name: &str, peer: &VyraPeer, reader: &mut SectionReader) {
    let path = format!("vyra.peers.{name}");
    let Some(module) = peer.vyra_module() else {
        let remedy = "write module = \"NAME\" and id = \"ID\"";
        return reader.fault_of_table(&path, "it says not which module it is", remedy);
    };
    let Ok(module) = module else {
        return;
    };
    let functions = [
        ("functions", &peer.functions),
        ("goals", &peer.goals),
        ("events", &peer.events),
    ];
    for (key, names) in functions {
        for function in names {
            let topic = module.topic(peer.namespace.as_deref(), function, None);
            let refused = match topic {
                Err(error) => Some(error.to_string()),
                Ok(topic) => {
                    let topic = topic.as_str().replace('/', ".");
                    check_topic(&topic).err().map(|error| error.to_string())
                }
            };
            if let Some(reason) = refused {
                let key = format!("{path}.{key}");
                let message = format!("{function:?}: {reason}");
                reader.fault_of_key(&key, message, "write names of letters, digits and _");
            }
        }
    }
    if !peer.goals.is_empty() && peer.over == crate::config::VyraTransport::Sockets {
        let key = format!("{path}.goals");
        let message = "goals are spoken over Redis alone: its sockets have no pattern for them";
        reader.fault_of_key(&key, message, "write over = \"redis\"");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::config::parse;

    fn check(text: &str, expected: &[(&str, &str)]) {
        let faults = parse("f", text, &BTreeMap::new())
            .expect_err("refused")
            .faults;
        let found: Vec<_> = faults
            .iter()
            .map(|fault| (fault.path.as_str(), fault.message.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_function_needs_what_its_kind_needs() {
        check(
            "[vyra.functions.a]\nover = [\"sockets\"]\n[vyra.functions.b]\nover = [\"sockets\"]\nkind = \"publish\"",
            &[
                ("vyra.functions.a", "it calls no service"),
                ("vyra.functions.b", "it has no topics to publish"),
            ],
        );
        check(
            "[vyra.functions.a]\nover = [\"sockets\"]\nservice = \"s\"\nkind = \"goal\"",
            &[(
                "vyra.functions.a.over",
                "goals are spoken over Redis alone: its sockets have no pattern for them",
            )],
        );
    }

    #[test]
    fn names_are_those_of_vyra_and_topics_differ() {
        check(
            "[vyra.functions.a]\nover = [\"sockets\"]\nservice = \"s\"\nfunction = \"b-c\"",
            &[(
                "vyra.functions.a",
                "the topic of this function is none: it holds '-'; letters, digits and _ are taken",
            )],
        );
        check(
            "[vyra.functions.a]\nover = [\"sockets\"]\nservice = \"s\"\n[vyra.functions.b]\nover = [\"sockets\"]\nservice = \"s\"\nfunction = \"a\"",
            &[(
                "vyra.functions.b",
                "its topic postern_gateway/a is that of \"a\"",
            )],
        );
    }

    #[test]
    fn a_peer_says_which_module_it_is() {
        check(
            "[vyra.peers.robot]\nover = \"sockets\"\nmodule = \"v2_mod\"",
            &[("vyra.peers.robot", "it says not which module it is")],
        );
    }

    #[test]
    fn redis_needs_a_store() {
        check(
            "[vyra.functions.a]\nservice = \"s\"",
            &[("vyra", "there is no Redis to speak over")],
        );
    }
}
