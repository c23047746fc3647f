//! Which topics a bridge exchanges, and under which names. Pure.
//!
//! ```text
//! local topic = local-prefix + NAME        NAME matches filter        remote topic = remote-prefix + NAME
//! ```

use postern_core::{
    Text,
    event::TopicPattern,
    mqtt::{Qos, TopicFilter},
};

use crate::config::bridges::{Bridge, BridgeDirection, BridgeTopic, RetainSetting};

/// One table `[bridges.NAME.topics.RULE]`.
#[derive(Debug, Clone)]
pub(super) struct TopicRule {
    pub(super) direction: BridgeDirection,
    pub(super) qos: Qos,
    pub(super) retain: RetainSetting,
    pub(super) local: TopicFilter,
    pub(super) remote: TopicFilter,
    local_prefix: String,
    remote_prefix: String,
}

/// All of a bridge, in the order of their names.
#[derive(Debug, Clone, Default)]
pub(super) struct TopicRules(Vec<TopicRule>);

impl TopicRule {
    /// None of a rule that the configuration refuses.
    fn new(topic: &BridgeTopic) -> Option<Self> {
        let (local, remote) = topic.filters().ok()?;
        let (local_prefix, remote_prefix) = topic.prefixes();
        Some(Self {
            direction: topic.direction,
            qos: topic.qos.0,
            retain: topic.retain,
            local,
            remote,
            local_prefix: local_prefix.to_owned(),
            remote_prefix: remote_prefix.to_owned(),
        })
    }

    /// The local name of a topic at the broker, which the rule matches.
    pub(super) fn to_local(&self, remote: &str) -> String {
        let name = remote.strip_prefix(&self.remote_prefix).unwrap_or(remote);
        format!("{}{name}", self.local_prefix)
    }

    /// The name at the broker of a local topic, which the rule matches.
    pub(super) fn to_remote(&self, local: &str) -> Text {
        let name = local.strip_prefix(&self.local_prefix).unwrap_or(local);
        format!("{}{name}", self.remote_prefix).into()
    }
}

impl TopicRules {
    pub(super) fn new(bridge: &Bridge) -> Self {
        Self(bridge.topics.values().filter_map(TopicRule::new).collect())
    }

    /// Those that bring messages.
    pub(super) fn incoming(&self) -> impl Iterator<Item = &TopicRule> {
        self.0.iter().filter(|rule| rule.direction.is_in())
    }

    /// The rule that a message of the broker comes by.
    pub(super) fn of_remote(&self, topic: &str) -> Option<&TopicRule> {
        self.incoming().find(|rule| rule.remote.matches(topic))
    }

    /// Each topic of the broker that a local name goes to, with its rule.
    pub(super) fn to_remote(&self, name: &str) -> Vec<(Text, &TopicRule)> {
        let rules = self.0.iter().filter(|rule| rule.direction.is_out());
        let mut found: Vec<(Text, &TopicRule)> = Vec::new();
        for rule in rules.filter(|rule| rule.local.matches(name)) {
            let topic = rule.to_remote(name);
            if found.iter().all(|(known, _)| *known != topic) {
                found.push((topic, rule));
            }
        }
        found
    }

    /// Patterns of the events that go out.
    pub(super) fn patterns(&self) -> Vec<TopicPattern> {
        let rules = self.0.iter().filter(|rule| rule.direction.is_out());
        let patterns = rules.filter_map(|rule| rule.local.patterns().ok());
        let mut patterns: Vec<_> = patterns.flatten().collect();
        patterns.sort_unstable();
        patterns.dedup();
        patterns
    }

    /// Whether something that goes out may come back in.
    pub(super) fn may_echo(&self) -> bool {
        let mut out = self.0.iter().filter(|rule| rule.direction.is_out());
        out.any(|out| self.incoming().any(|one| overlap(&out.remote, &one.remote)))
    }
}

/// Whether some topic is wanted by both filters.
fn overlap(a: &TopicFilter, b: &TopicFilter) -> bool {
    let (mut a, mut b) = (a.levels(), b.levels());
    loop {
        match (a.next(), b.next()) {
            (Some("#"), _) | (_, Some("#")) | (None, None) => return true,
            (None, Some(_)) | (Some(_), None) => return false,
            (Some(one), Some(other)) if one == other || one == "+" || other == "+" => {}
            (Some(_), Some(_)) => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(topics: &[(&str, BridgeDirection, &str, &str)]) -> TopicRules {
        let mut bridge = Bridge::default();
        for (idx, (filter, direction, local, remote)) in topics.iter().enumerate() {
            let topic = BridgeTopic {
                filter: Some((*filter).to_owned()),
                direction: *direction,
                local_prefix: Some((*local).to_owned()),
                remote_prefix: Some((*remote).to_owned()),
                ..BridgeTopic::default()
            };
            bridge.topics.insert(idx.to_string(), topic);
        }
        TopicRules::new(&bridge)
    }

    #[test]
    fn prefixes_are_taken_off_and_put_before() {
        let rules = rules(&[("sensors/#", BridgeDirection::Both, "site/7/", "hq/")]);
        let rule = rules.of_remote("hq/sensors/1").expect("a rule");
        assert_eq!(rule.to_local("hq/sensors/1"), "site/7/sensors/1");
        assert!(rules.of_remote("sensors/1").is_none());
        let remote = rules.to_remote("site/7/sensors/1");
        assert_eq!(remote[0].0, "hq/sensors/1");
        assert!(rules.to_remote("sensors/1").is_empty());
        let patterns = rules.patterns();
        let patterns: Vec<_> = patterns.iter().map(TopicPattern::as_str).collect();
        assert_eq!(patterns, ["site.7.sensors", "site.7.sensors.>"]);
    }

    #[test]
    fn directions_are_kept_apart() {
        let rules = rules(&[
            ("a", BridgeDirection::In, "", ""),
            ("b", BridgeDirection::Out, "", ""),
        ]);
        assert!(rules.of_remote("a").is_some() && rules.of_remote("b").is_none());
        assert!(rules.to_remote("a").is_empty() && rules.to_remote("b").len() == 1);
        assert!(!rules.may_echo());
    }

    #[test]
    fn a_topic_goes_to_each_place_once() {
        let rules = rules(&[
            ("a/#", BridgeDirection::Out, "", "x/"),
            ("a/+", BridgeDirection::Out, "", "x/"),
            ("a/+", BridgeDirection::Out, "", "y/"),
        ]);
        let remote = rules.to_remote("a/b");
        let remote: Vec<_> = remote.iter().map(|(topic, _)| topic.as_str()).collect();
        assert_eq!(remote, ["x/a/b", "y/a/b"]);
    }

    #[test]
    fn filters_overlap_where_a_topic_fits_both() {
        let check = |a: &str, b: &str, expected: bool| {
            let filter = |text| TopicFilter::new(text).expect("a filter");
            assert_eq!(overlap(&filter(a), &filter(b)), expected, "{a} {b}");
            assert_eq!(overlap(&filter(b), &filter(a)), expected, "{b} {a}");
        };
        check("a/+", "+/b", true);
        check("a/#", "a", true);
        check("a/#", "b/#", false);
        check("a/b", "a/+/c", false);
        check("#", "x/y", true);
    }
}
