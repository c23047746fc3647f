//! Who may call what, by rules. Pure.
//!
//! ```text
//! a deny rule fits call and caller            → refused
//! else an allow rule fits call and caller     → passes
//! else an allow rule is about the call        → refused
//! else                                        → `authorization.default`
//! ```
//! So the order of rules means nothing, and a rule for one service does not close the others.

use postern_core::{Blame, Call, Error, Kind, Principal};

use crate::config::{self, Effect};

/// All rules, checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct AuthorizationRules {
    default: Effect,
    deny: Vec<Rule>,
    allow: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq)]
struct Rule {
    name: String,
    rule: config::Rule,
}

impl AuthorizationRules {
    pub(super) fn new(authorization: &config::Authorization) -> Self {
        let of = |effect: Effect| {
            let rules = authorization.rules.iter();
            let rules = rules.filter(move |(_, rule)| rule.effect == effect);
            rules
                .map(|(name, rule)| Rule {
                    name: name.clone(),
                    rule: rule.clone(),
                })
                .collect()
        };
        Self {
            default: authorization.default,
            deny: of(Effect::Deny),
            allow: of(Effect::Allow),
        }
    }

    /// # Errors
    /// `permission-denied` to somebody who is known, `unauthenticated` to an anonymous caller.
    pub(super) fn authorize(&self, call: &Call) -> Result<(), Error> {
        let principal = call.context.principal.as_deref();
        let judged = self.judge(&call.service, &call.method, principal);
        judged.map_err(|denied| match denied {
            Some(rule) => refusal(call, &format!("rule {} denies it", rule.name)),
            None => refusal(call, "no rule allows it"),
        })
    }

    /// Whether `principal` may call `service`/`method`.
    pub(super) fn allows(
        &self,
        service: &str,
        method: &str,
        principal: Option<&Principal>,
    ) -> bool {
        self.judge(service, method, principal).is_ok()
    }

    /// The error is the rule that denies the call, where it is one.
    fn judge(
        &self,
        service: &str,
        method: &str,
        principal: Option<&Principal>,
    ) -> Result<(), Option<&Rule>> {
        let is_about = |rule: &&Rule| rule.is_about(service, method);
        let denies = |rule: &&Rule| is_about(rule) && rule.fits(principal);
        if let Some(rule) = self.deny.iter().find(denies) {
            return Err(Some(rule));
        }
        let mut about = self.allow.iter().filter(is_about).peekable();
        let is_allowed = match about.peek() {
            None => self.default == Effect::Allow,
            Some(_) => about.any(|rule| rule.fits(principal)),
        };
        is_allowed.then_some(()).ok_or(None)
    }
}

impl Rule {
    fn is_about(&self, service: &str, method: &str) -> bool {
        let mut patterns = self.rule.calls.iter();
        patterns.any(|pattern| pattern.matches(service, method))
    }

    fn fits(&self, principal: Option<&Principal>) -> bool {
        let rule = &self.rule;
        if rule.roles.is_empty() && rule.principals.is_empty() && !rule.anonymous {
            return true;
        }
        let Some(principal) = principal else {
            return rule.anonymous;
        };
        let has_role = |role: &String| principal.roles.iter().any(|has| has == role.as_str());
        rule.roles.iter().any(has_role)
            || rule
                .principals
                .iter()
                .any(|name| name.matches(&principal.name))
    }
}

/// Credentials could help somebody who showed none; nobody else.
fn refusal(call: &Call, why: &str) -> Error {
    let (service, method) = (&call.service, &call.method);
    match &call.context.principal {
        Some(principal) => {
            let message = format!("{} may not call {service}/{method}: {why}", principal.name);
            Error::new(Kind::PermissionDenied, Blame::Client, message)
        }
        None => {
            let message = format!("an anonymous caller may not call {service}/{method}: {why}");
            Error::new(Kind::Unauthenticated, Blame::Client, message)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use super::*;

    /// `text` as `[authorization]`; each case is a call, a caller (name and roles) and what comes
    /// of it.
    #[track_caller]
    fn check(text: &str, cases: &[(&str, &[&str], Result<(), Kind>)]) {
        let (config, _) =
            config::parse("t", text, &BTreeMap::new()).unwrap_or_else(|faults| panic!("{faults}"));
        let rules = AuthorizationRules::new(&config.authorization);
        for (target, caller, expected) in cases {
            let (service, method) = target.split_once('/').expect("service/method");
            let mut call = Call::unary(service, method, "");
            call.context.principal = caller.split_first().map(|(name, roles)| {
                Arc::new(Principal {
                    name: (*name).into(),
                    roles: roles.iter().map(|role| (*role).into()).collect(),
                    claims: Vec::new(),
                })
            });
            let found = rules.authorize(&call).map_err(|error| error.kind);
            assert_eq!(found, *expected, "{target} by {caller:?}");
        }
    }

    const DENIED: Result<(), Kind> = Err(Kind::PermissionDenied);
    const UNKNOWN: Result<(), Kind> = Err(Kind::Unauthenticated);

    #[test]
    fn without_rules_everything_is_allowed() {
        check(
            "",
            &[("users/Get", &[], Ok(())), ("users/Get", &["ann"], Ok(()))],
        );
    }

    #[test]
    fn a_role_opens_what_its_rule_is_about_and_closes_it_to_others() {
        check(
            "[authorization.rules.a]\ncalls = [\"users/*\"]\nroles = [\"user\", \"admin\"]",
            &[
                ("users/Get", &["ann", "user"], Ok(())),
                ("users/Get", &["ann", "x", "admin"], Ok(())),
                ("users/Get", &["ann", "guest"], DENIED),
                ("users/Get", &["ann"], DENIED),
                ("users/Get", &[], UNKNOWN),
                ("echo/Say", &[], Ok(())),
            ],
        );
    }

    #[test]
    fn a_deny_rule_wins_over_every_allow_rule() {
        check(
            "[authorization.rules.a]\nroles = [\"user\"]\n\
             [authorization.rules.b]\neffect = \"deny\"\ncalls = [\"users/Delete*\"]\nprincipals = [\"ann\"]",
            &[
                ("users/Get", &["ann", "user"], Ok(())),
                ("users/DeleteAll", &["ann", "user"], DENIED),
                ("users/DeleteAll", &["bob", "user"], Ok(())),
            ],
        );
    }

    #[test]
    fn the_default_decides_what_no_rule_is_about() {
        check(
            "[authorization]\ndefault = \"deny\"\n[authorization.rules.open]\ncalls = [\"echo\"]",
            &[
                ("echo/Say", &[], Ok(())),
                ("echo/Say", &["ann"], Ok(())),
                ("users/Get", &["ann", "admin"], DENIED),
                ("users/Get", &[], UNKNOWN),
            ],
        );
    }

    #[test]
    fn everybody_who_is_known_is_a_star() {
        check(
            "[authorization.rules.a]\nprincipals = [\"*\"]\n\
             [authorization.rules.b]\ncalls = [\"echo\"]\nanonymous = true",
            &[
                ("users/Get", &["ann"], Ok(())),
                ("users/Get", &[], UNKNOWN),
                ("echo/Say", &[], Ok(())),
                ("echo/Say", &["ann"], Ok(())),
            ],
        );
        check(
            "[authorization.rules.a]\ncalls = [\"echo\"]\nanonymous = true",
            &[("echo/Say", &["ann"], DENIED)],
        );
    }

    #[test]
    fn an_anonymous_caller_can_be_denied_by_name() {
        check(
            "[authorization.rules.a]\neffect = \"deny\"\nanonymous = true\ncalls = [\"*/Delete*\"]",
            &[
                ("users/Delete", &[], UNKNOWN),
                ("users/Delete", &["ann"], Ok(())),
                ("users/Get", &[], Ok(())),
            ],
        );
    }
}
