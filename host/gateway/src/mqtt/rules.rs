//! Who may publish and subscribe to which topics, by `[mqtt.rules]`. Pure.
//!
//! ```text
//! no rule at all                              → allowed
//! a deny rule fits client and topic           → refused
//! else an allow rule fits both                → allowed
//! else                                        → refused
//! ```
//! A filter is allowed where a permission covers all its topics, and refused where a deny rule has one
//! of them: `#` is refused to whom `secret/#` is.
//!
//! **Invariant:** what a client is called widens nothing: a name with a sign of filters or with more
//! than one level fits no permission that has `%c` or `%u`.

use std::collections::BTreeMap;

use postern_core::Principal;

use crate::config::{Effect, MqttRule, PermissionLevel, PermissionPiece, TopicPermission};

/// All rules of a configuration.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct ClientRules {
    rules: Vec<MqttRule>,
}

/// What the rules say of one client. Replaced when the configuration changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClientTopics {
    /// Whether there are rules.
    is_ruled: bool,
    allow: Permissions,
    deny: Permissions,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Permissions {
    publish: Vec<Pattern>,
    subscribe: Vec<Pattern>,
}

/// A permission, for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    levels: Vec<Level>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Level {
    Literal(Box<str>),
    One,
    Rest,
}

impl ClientRules {
    #[must_use]
    pub(crate) fn new(rules: &BTreeMap<String, MqttRule>) -> Self {
        Self {
            rules: rules.values().cloned().collect(),
        }
    }

    /// What they say of the client `client_id`, which is `principal` or nobody who is known.
    #[must_use]
    pub(crate) fn of(&self, client_id: &str, principal: Option<&Principal>) -> ClientTopics {
        let mut topics = ClientTopics {
            is_ruled: !self.rules.is_empty(),
            ..ClientTopics::default()
        };
        for rule in self.rules.iter().filter(|rule| fits(rule, principal)) {
            let permissions = match rule.effect {
                Effect::Allow => &mut topics.allow,
                Effect::Deny => &mut topics.deny,
            };
            let name = principal.map(|principal| principal.name.as_str());
            let of = |permission| Pattern::of(permission, client_id, name);
            let publish = rule.publish.iter().filter_map(of);
            permissions.publish.extend(publish);
            let subscribe = rule.subscribe.iter().filter_map(of);
            permissions.subscribe.extend(subscribe);
        }
        topics
    }
}

impl ClientTopics {
    /// Whether the client may publish to `topic`.
    #[must_use]
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        let mut denied = self.deny.publish.iter();
        let mut allowed = self.allow.publish.iter();
        !self.is_ruled
            || (!denied.any(|pattern| pattern.covers(topic))
                && allowed.any(|pattern| pattern.covers(topic)))
    }

    /// Whether the client may be told of all topics of `filter`, which has no `$share/GROUP/`.
    #[must_use]
    pub(crate) fn may_subscribe(&self, filter: &str) -> bool {
        let mut denied = self.deny.subscribe.iter();
        let mut allowed = self.allow.subscribe.iter();
        !self.is_ruled
            || (!denied.any(|pattern| pattern.overlaps(filter))
                && allowed.any(|pattern| pattern.covers(filter)))
    }
}

impl Pattern {
    /// `None` where it stands for nobody, or for a name that is no level.
    fn of(permission: &TopicPermission, client_id: &str, principal: Option<&str>) -> Option<Self> {
        let level = |level: &PermissionLevel| match level {
            PermissionLevel::One => Some(Level::One),
            PermissionLevel::Rest => Some(Level::Rest),
            PermissionLevel::Literal(pieces) => {
                let mut text = String::new();
                for piece in pieces {
                    text.push_str(match piece {
                        PermissionPiece::Text(text) => text,
                        PermissionPiece::ClientId => as_level(client_id)?,
                        PermissionPiece::Principal => as_level(principal?)?,
                    });
                }
                Some(Level::Literal(text.into()))
            }
        };
        let levels = permission.levels().iter().map(level);
        Some(Self {
            levels: levels.collect::<Option<_>>()?,
        })
    }

    /// Whether every topic of `filter` is one of this. A topic is the filter of itself.
    fn covers(&self, filter: &str) -> bool {
        let mut asked = filter.split('/').enumerate();
        for level in &self.levels {
            let next = asked.next();
            match (level, next) {
                // What begins with `$` is no match of signs (MQTT 5 section 4.7.2).
                (Level::One | Level::Rest, Some((0, first))) if first.starts_with('$') => {
                    return false;
                }
                // `a/#` has `a` as well, so that nothing may be left.
                (Level::Rest, _) => return true,
                (Level::One, Some((_, "#"))) => return false,
                (Level::One, Some(_)) => {}
                (Level::Literal(text), Some((_, level))) if **text == *level => {}
                (Level::Literal(_), Some(_)) | (Level::One | Level::Literal(_), None) => {
                    return false;
                }
            }
        }
        asked.next().is_none()
    }

    /// Whether some topic is one of both.
    fn overlaps(&self, filter: &str) -> bool {
        let mut asked = filter.split('/').enumerate();
        for level in &self.levels {
            match (level, asked.next()) {
                (Level::One | Level::Rest, Some((0, first))) if first.starts_with('$') => {
                    return false;
                }
                (Level::Literal(text), Some((0, "+" | "#"))) if text.starts_with('$') => {
                    return false;
                }
                (Level::Rest, _) | (_, Some((_, "#"))) => return true,
                (Level::One, Some(_)) | (Level::Literal(_), Some((_, "+"))) => {}
                (Level::Literal(text), Some((_, level))) if **text == *level => {}
                (Level::Literal(_), Some(_)) | (Level::One | Level::Literal(_), None) => {
                    return false;
                }
            }
        }
        // `a/#` is about `a` as well.
        asked.next().is_none_or(|(_, level)| level == "#")
    }
}

/// A name as one level; `None` for one that would be more than a level, or a sign of filters.
fn as_level(name: &str) -> Option<&str> {
    let is_sign = |c: char| matches!(c, '/' | '+' | '#' | '\0');
    (!name.is_empty() && !name.starts_with('$') && !name.contains(is_sign)).then_some(name)
}

fn fits(rule: &MqttRule, principal: Option<&Principal>) -> bool {
    if rule.roles.is_empty() && rule.principals.is_empty() && !rule.anonymous {
        return true;
    }
    let Some(principal) = principal else {
        return rule.anonymous;
    };
    let has_role = |role: &String| principal.roles.iter().any(|has| has == role.as_str());
    let mut names = rule.principals.iter();
    rule.roles.iter().any(has_role) || names.any(|name| name.matches(&principal.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn topics(rules: &str, client_id: &str, name: Option<&str>) -> ClientTopics {
        let parsed = config::parse("t", rules, &BTreeMap::new());
        let (config, _) = parsed.unwrap_or_else(|faults| panic!("{faults}"));
        let principal = name.map(|name| Principal {
            name: name.into(),
            roles: vec!["device".into()],
            claims: Vec::new(),
        });
        ClientRules::new(&config.mqtt.rules).of(client_id, principal.as_ref())
    }

    #[track_caller]
    fn check(permission: &str, filter: &str, expected: bool) {
        let rules = format!("[mqtt.rules.a]\nsubscribe = [\"{permission}\"]");
        let is_allowed = topics(&rules, "c1", Some("u1")).may_subscribe(filter);
        assert_eq!(is_allowed, expected, "{permission} of {filter}");
    }

    #[track_caller]
    fn check_denied(denied: &str, filter: &str, expected: bool) {
        let rules = format!(
            "[mqtt.rules.a]\nsubscribe = [\"#\", \"$SYS/#\"]\n\
             [mqtt.rules.b]\neffect = \"deny\"\nsubscribe = [\"{denied}\"]"
        );
        let is_allowed = topics(&rules, "c1", Some("u1")).may_subscribe(filter);
        assert_eq!(!is_allowed, expected, "{denied} denies {filter}");
    }

    #[test]
    fn without_rules_everything_is_allowed() {
        let free = topics("", "c", None);
        assert!(free.may_publish("a/b") && free.may_subscribe("#"));
    }

    #[test]
    fn a_permission_covers_what_is_as_narrow_or_narrower() {
        for (permission, filter, expected) in [
            ("a/b", "a/b", true),
            ("a/b", "a/+", false),
            ("a/+", "a/b", true),
            ("a/+", "a/+", true),
            ("a/+", "a/#", false),
            ("a/+", "a", false),
            ("a/+", "a/b/c", false),
            ("a/#", "a", true),
            ("a/#", "a/b/+/#", true),
            ("a/#", "#", false),
            ("+/b", "+/b", true),
            ("+/b", "#", false),
            ("#", "#", true),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
            ("$SYS/#", "$SYS/x", true),
            ("a/", "a", false),
            ("a/+", "a/", true),
        ] {
            check(permission, filter, expected);
        }
    }

    #[test]
    fn a_denied_topic_refuses_every_filter_that_has_it() {
        for (denied, filter, expected) in [
            ("secret/#", "#", true),
            ("secret/#", "secret", true),
            ("secret/#", "+", true),
            ("secret/#", "+/x", true),
            ("secret/#", "open/#", false),
            ("a/+/c", "a/b/+", true),
            ("a/+/c", "a/b", false),
            ("a", "a/#", true),
            ("$SYS/#", "#", false),
            ("#", "$SYS/x", false),
            ("+/x", "$SYS/x", false),
        ] {
            check_denied(denied, filter, expected);
        }
    }

    #[test]
    fn names_stand_for_one_level_and_widen_nothing() {
        let rules = "[mqtt.rules.a]\npublish = [\"devices/%c/up\", \"by/%u/x-%c\"]";
        let known = topics(rules, "c1", Some("u1"));
        assert!(known.may_publish("devices/c1/up") && known.may_publish("by/u1/x-c1"));
        assert!(!known.may_publish("devices/c2/up") && !known.may_publish("by/u2/x-c1"));
        for id in ["+", "#", "c1/up", "", "$x"] {
            let odd = topics(rules, id, Some("u1"));
            assert!(!odd.may_publish(&format!("devices/{id}/up")), "{id}");
        }
        let nobody = topics(rules, "c1", None);
        assert!(nobody.may_publish("devices/c1/up") && !nobody.may_publish("by//x-c1"));
    }

    #[test]
    fn a_rule_is_for_roles_names_or_nobody_in_particular() {
        let rules = "[mqtt.rules.a]\nroles = [\"device\"]\npublish = [\"of-role\"]\n\
                     [mqtt.rules.b]\nprincipals = [\"u*\"]\npublish = [\"of-name\"]\n\
                     [mqtt.rules.c]\nanonymous = true\npublish = [\"of-nobody\"]";
        let (known, nobody) = (topics(rules, "c", Some("u1")), topics(rules, "c", None));
        assert!(known.may_publish("of-role") && known.may_publish("of-name"));
        assert!(!known.may_publish("of-nobody") && !known.may_subscribe("of-role"));
        assert!(nobody.may_publish("of-nobody") && !nobody.may_publish("of-role"));
    }
}
