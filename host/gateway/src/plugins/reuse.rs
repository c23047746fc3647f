//! Whether an instance of a component answers more than one request, as far as its file tells. Pure.
//!
//! StarlingMonkey, the engine of componentize-js and of the SDKs that are made with it, hands a request of
//! `wasi:http` to JavaScript as the event `fetch`. It has one such event for as long as it lives, and what says so is its
//! own text: `respondWith` of a second request throws. JavaScript that exports the handler itself does not meet that.
//! Both have the engine with its texts; what differs is who exports the function:
//!
//! | core module with that text | handler |
//! | --- | --- |
//! | exports `wasi:http/incoming-handler@VERSION#handle` alone | the engine's event |
//! | and `cabi_post_wasi:http/incoming-handler@VERSION#handle` | JavaScript's own: componentize-js gives all that it exports such a function, and the engine has none |

use std::collections::BTreeSet;

use wasmparser::{Parser, Payload};

/// Why an instance of `component` answers one request; `None` where nothing speaks against more. What is no component
/// says nothing.
#[must_use]
pub(crate) fn answers_once(component: &[u8]) -> Option<&'static str> {
    let mut module: Option<Module> = None;
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ModuleSection { .. }) => module = Some(Module::default()),
            Ok(Payload::ExportSection(exports)) => {
                if let Some(module) = &mut module {
                    let names = exports.into_iter().flatten().map(|export| export.name);
                    module.exports = names.map(str::to_owned).collect();
                }
            }
            Ok(Payload::DataSection(data)) => {
                let module = module.as_mut().filter(|module| module.has_handler_alone());
                if let Some(module) = module {
                    let mut data = data.into_iter().flatten();
                    module.has_text = data.any(|data| contains(data.data, TEXT));
                }
            }
            Ok(Payload::End(_)) if module.take().is_some_and(|module| module.has_text) => {
                return Some(ONE_EVENT);
            }
            Ok(_) => {}
            Err(_) => return None,
        }
    }
    None
}

/// What is known of a core module, while it is read.
#[derive(Default)]
struct Module {
    exports: BTreeSet<String>,
    has_text: bool,
}

impl Module {
    /// Whether it exports a handler, and not as JavaScript does. Exports stand before data.
    fn has_handler_alone(&self) -> bool {
        let mut handlers = self.exports.iter().filter(|name| {
            let interface = name.strip_suffix("#handle");
            let interface = interface.and_then(|name| name.split_once('@'));
            interface.is_some_and(|(interface, _)| interface == HANDLER)
        });
        handlers.any(|name| !self.exports.contains(&format!("cabi_post_{name}")))
    }
}

/// Looks where the only rare letter of `TEXT` is: data may have some tens of megabytes.
fn contains(data: &[u8], text: &[u8]) -> bool {
    let Some(at) = text.iter().position(|octet| *octet == b'#') else {
        return false;
    };
    let mut rare = data.iter().enumerate().filter(|(_, octet)| **octet == b'#');
    rare.any(|(found, _)| {
        let begin = found.checked_sub(at);
        let rest = begin.and_then(|begin| data.get(begin..));
        rest.is_some_and(|rest| rest.starts_with(text))
    })
}

const HANDLER: &str = "wasi:http/incoming-handler";
const TEXT: &[u8] = b"FetchEvent#respondWith can't be called twice on the same event";
const ONE_EVENT: &str = "its engine has one event `fetch`, so an instance answers one request";

#[cfg(test)]
mod tests {
    use super::*;

    /// A component whose core module exports these functions and has `text` among its data.
    fn component(exports: &[&str], text: &str) -> Vec<u8> {
        let exports = exports
            .iter()
            .map(|name| format!("(func (export \"{name}\"))"));
        let exports: String = exports.collect();
        let module =
            format!("(core module {exports} (memory 1) (data (i32.const 7) \"a#b{text}\"))");
        // Other modules, before it and behind it, say nothing of it.
        let other = "(core module (func (export \"run\")) (memory 1) (data (i32.const 0) \"#\"))";
        wat::parse_str(format!("(component {other} {module} {other})")).expect("valid")
    }

    #[track_caller]
    fn check(exports: &[&str], text: &str, expected: bool) {
        let found = answers_once(&component(exports, text));
        assert_eq!(found.is_some(), expected, "{exports:?} {text}");
    }

    #[test]
    fn an_engine_that_hands_requests_to_its_one_event_is_known_by_its_own_words() {
        let text = "FetchEvent#respondWith can't be called twice on the same event";
        let handle = "wasi:http/incoming-handler@0.2.10#handle";
        let post = "cabi_post_wasi:http/incoming-handler@0.2.10#handle";
        check(&["memory-of-sorts", handle], text, true);
        check(&["wasi:http/incoming-handler@0.2.3#handle"], text, true);
        check(&[handle, post], text, false);
        check(&[handle], "FetchEvent#respondWith can't be called", false);
        check(&[handle], "", false);
        check(&["run"], text, false);
        check(&["wasi:http/incoming-handlers@0.2.3#handle"], text, false);
    }

    #[test]
    fn what_is_no_component_says_nothing() {
        assert_eq!(answers_once(b""), None);
        assert_eq!(answers_once(b"\0asm\x0d\0\x01\0broken"), None);
    }
}
