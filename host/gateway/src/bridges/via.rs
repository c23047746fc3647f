//! Which bridges an event has crossed, so that none goes round. Pure.
//!
//! The header `event-via` of an event, and the user property of that name in MQTT 5, is a list of
//! `GATEWAY/BRIDGE`, the first crossed first. A gateway is known by a number that it draws at its start.
//!
//! | where | what is not let through |
//! | --- | --- |
//! | in | what has crossed any bridge of this gateway, or as many as `hops-max` |
//! | out | what came in over the same bridge |
//!
//! MQTT 3.1.1 has no user properties: there the list ends at the broker, and what comes from it begins
//! a new one. What a broker would send back is kept from that by the mark of mosquitto's bridges, and
//! where the broker does not know it by `echo.rs`.

use postern_core::Headers;

/// The header, and the user property.
pub(super) const VIA: &str = "event-via";

/// One bridge of this gateway.
#[derive(Debug, Clone)]
pub(super) struct BridgeMark {
    gateway: String,
    /// `GATEWAY/BRIDGE`.
    own: String,
}

/// What is to become of an event that comes in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ViaVerdict {
    /// It is let through, with this list.
    Through(String),
    /// It was here before.
    Loop,
    TooFar,
}

impl BridgeMark {
    pub(super) fn new(gateway: &str, bridge: &str) -> Self {
        Self {
            gateway: format!("{gateway}/"),
            own: format!("{gateway}/{bridge}"),
        }
    }

    /// Judges an event that comes from the broker with the list `via`.
    pub(super) fn judge(&self, via: Option<&str>, hops_max: usize) -> ViaVerdict {
        let crossed = || crossed(via);
        if crossed().any(|one| one.starts_with(&self.gateway)) {
            return ViaVerdict::Loop;
        }
        if crossed().count() >= hops_max {
            return ViaVerdict::TooFar;
        }
        ViaVerdict::Through(self.added_to(via))
    }

    /// Whether an event came in over this bridge.
    pub(super) fn has_brought(&self, headers: &Headers) -> bool {
        let via = headers.get_str(VIA);
        crossed(via.as_deref()).any(|one| one == self.own)
    }

    /// The list of an event that goes out.
    pub(super) fn added_to(&self, via: Option<&str>) -> String {
        let own = [self.own.as_str()];
        crossed(via).chain(own).collect::<Vec<_>>().join(",")
    }
}

fn crossed(via: Option<&str>) -> impl Iterator<Item = &str> {
    let names = via.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(via: &str) -> ViaVerdict {
        ViaVerdict::Through(via.to_owned())
    }

    #[test]
    fn an_event_that_was_here_comes_in_no_more() {
        let (ours, theirs) = (BridgeMark::new("1", "b"), BridgeMark::new("2", "b"));
        let out = ours.added_to(None);
        assert_eq!(out, "1/b");
        assert_eq!(theirs.judge(Some(&out), 8), through("1/b,2/b"));
        assert_eq!(ours.judge(Some("1/b,2/b"), 8), ViaVerdict::Loop);
        assert_eq!(ours.judge(Some("1/another"), 8), ViaVerdict::Loop);
        assert_eq!(ours.judge(Some("11/b"), 8), through("11/b,1/b"));
        assert_eq!(ours.judge(None, 8), through("1/b"));
    }

    #[test]
    fn an_event_crosses_as_many_bridges_as_it_may() {
        let mark = BridgeMark::new("9", "b");
        assert_eq!(mark.judge(Some("1/b"), 2), through("1/b,9/b"));
        assert_eq!(mark.judge(Some("1/b,2/b"), 2), ViaVerdict::TooFar);
        assert_eq!(mark.judge(Some(" , ,"), 1), through("9/b"));
    }

    #[test]
    fn what_a_bridge_has_brought_it_does_not_take_back() {
        let mark = BridgeMark::new("1", "b");
        let mut headers = Headers::new();
        assert!(!mark.has_brought(&headers));
        headers.push(VIA, "2/x,1/b").expect("short");
        assert!(mark.has_brought(&headers));
        assert!(!BridgeMark::new("1", "c").has_brought(&headers));
    }
}
