//! Which methods of a plugin are not unary, as `describe` says: asked for every call of a component that
//! answers both kinds.

use postern_core::{
    Text,
    service::{CallKind, MethodInfo, ServiceInfo},
};

/// Which methods are not unary.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamedMethods {
    /// Service and method.
    named: Vec<(Text, Text)>,
    /// Services whose methods are so unless they have a line of their own.
    open: Vec<Text>,
    /// Service and method of what is unary, of those services.
    unary: Vec<(Text, Text)>,
}

impl StreamedMethods {
    pub(crate) fn of(services: &[ServiceInfo]) -> Self {
        let is_streamed =
            |method: &MethodInfo| method.kind.is_some_and(|kind| kind != CallKind::Unary);
        let mut streamed = Self::default();
        for service in services {
            let mut methods = service.methods.iter();
            let is_open = methods.any(|method| &*method.name == ANY && is_streamed(method));
            if is_open {
                streamed.open.push(service.name.clone());
            }
            for method in service.methods.iter().filter(|method| &*method.name != ANY) {
                let named = (service.name.clone(), method.name.clone());
                match is_streamed(method) {
                    true => streamed.named.push(named),
                    false if is_open => streamed.unary.push(named),
                    false => {}
                }
            }
        }
        streamed
    }

    pub(crate) fn has(&self, service: &Text, method: &Text) -> bool {
        let (service, method) = (service.as_bytes(), method.as_bytes());
        let is_it =
            |(of, name): &(Text, Text)| name.as_bytes() == method && of.as_bytes() == service;
        let is_open = || {
            let mut open = self.open.iter();
            open.any(|of| of.as_bytes() == service) && !self.unary.iter().any(is_it)
        };
        self.named.iter().any(is_it) || is_open()
    }
}

/// Stands for every method of a service that has no line of its own.
const ANY: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_for_every_method_has_its_kind() {
        let method = |name: &'static str, kind| MethodInfo {
            kind: Some(kind),
            ..MethodInfo::new(name, false)
        };
        let methods = vec![
            method("get", CallKind::Unary),
            method("watch", CallKind::ServerStream),
            method("*", CallKind::Bidirectional),
        ];
        let service = |name: &'static str, methods| ServiceInfo {
            methods,
            name: Text::from_static(name),
            ..ServiceInfo::default()
        };
        let unary = vec![
            method("*", CallKind::Unary),
            method("watch", CallKind::ServerStream),
        ];
        let streamed = StreamedMethods::of(&[service("a", methods), service("b", unary)]);
        let has = |service: &'static str, method: &'static str| {
            streamed.has(&Text::from_static(service), &Text::from_static(method))
        };
        assert!(has("a", "watch") && has("a", "chat") && !has("a", "get"));
        assert!(has("b", "watch") && !has("b", "chat") && !has("c", "chat"));
    }
}
