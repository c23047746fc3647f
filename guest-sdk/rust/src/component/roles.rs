//! The roles beside services, as a component exports them: each enters the plugin's one value.

use std::time::Duration;

use super::response;
use crate::{
    balancer::{Balancer, Candidates, Instance, Outcome},
    bindings::{
        authenticator::exports::postern::gateway::authenticator,
        authorizer::exports::postern::gateway::authorizer,
        balancer::exports::postern::gateway::balancer,
        event_handler::exports::postern::gateway::event_handler,
        frame_extension::exports::postern::gateway::frame_extension,
        health::exports::postern::gateway::health, imports::postern::gateway::types,
        request_interceptor::exports::postern::gateway::request_interceptor,
        response_interceptor::exports::postern::gateway::response_interceptor,
    },
    body::Octets,
    event::{Event, EventHandler},
    failure::Failure,
    frame::{Direction, Frame, FrameExtension, FrameHead, FrameKind, Verdict},
    identity::{Authenticator, Authorizer, Credentials, Identity},
    interceptor::{Action, Reply, Request, RequestInterceptor, Response, ResponseInterceptor},
    plugin::{Exported, Held, Plugin},
    service::Health,
};

/// Enters the value, which is made at the first entry.
fn enter<P: Held, R>(work: impl FnOnce(&mut P) -> Result<R, Failure>) -> Result<R, types::Failure> {
    let left = P::place().with_borrow_mut(|value| {
        let plugin = match value {
            Some(plugin) => plugin,
            None => value.insert(P::start()?),
        };
        work(plugin)
    });
    left.map_err(types::Failure::from)
}

impl<P: Held> health::Guest for Exported<P> {
    fn check() -> health::Report {
        let health = enter(|plugin: &mut P| Ok(Plugin::health(plugin)));
        let broken = |failure| Health::NotServing(Failure::from(failure).to_string());
        health.unwrap_or_else(broken).into()
    }
}

impl<P: Held + RequestInterceptor> request_interceptor::Guest for Exported<P> {
    fn on_request() -> Result<request_interceptor::Action, types::Failure> {
        use request_interceptor::Action as Shown;
        enter(
            |plugin: &mut P| match plugin.on_request(&mut Request::of_call())? {
                Action::Proceed => Ok(Shown::Proceed),
                Action::Answer(reply) => answer(&reply).map(|()| Shown::Answer),
            },
        )
    }
}

impl<P: Held + ResponseInterceptor> response_interceptor::Guest for Exported<P> {
    fn on_response() -> Result<(), types::Failure> {
        enter(|plugin: &mut P| plugin.on_response(&Request::of_call(), &mut Response::of_call()))
    }
}

impl<P: Held + FrameExtension> frame_extension::Guest for Exported<P> {
    fn should_handle(head: frame_extension::FrameHead) -> bool {
        let head = FrameHead::from(head);
        // A plugin that could not be started says so when it is handed the frame.
        enter(|plugin: &mut P| Ok(plugin.should_handle(&head))).unwrap_or(true)
    }

    fn handle_frame() -> Result<frame_extension::Verdict, types::Failure> {
        let verdict = enter(|plugin: &mut P| plugin.handle_frame(&mut Frame::in_hand()))?;
        Ok(match verdict {
            Verdict::Pass => frame_extension::Verdict::Pass,
            Verdict::Drop => frame_extension::Verdict::Drop,
        })
    }
}

impl<P: Held + Balancer> balancer::Guest for Exported<P> {
    fn update(instances: Vec<balancer::Instance>) {
        let instances = instances.into_iter().map(Instance::from).collect();
        // One that could not be started picks nothing.
        let _ = enter(|plugin: &mut P| {
            plugin.update(instances);
            Ok(())
        });
    }

    fn pick(key: u64) -> Option<u32> {
        let index = enter(|plugin: &mut P| Ok(plugin.pick(key, &Candidates::of_pick())));
        u32::try_from(index.ok()??).ok()
    }

    fn done(index: u32, outcome: balancer::Outcome, micros: u64) {
        let outcome = match outcome {
            balancer::Outcome::Success => Outcome::Success,
            balancer::Outcome::Failure => Outcome::Failure,
            balancer::Outcome::Timeout => Outcome::Timeout,
        };
        let _ = enter(|plugin: &mut P| {
            plugin.done(index as usize, outcome, Duration::from_micros(micros));
            Ok(())
        });
    }
}

impl<P: Held + Authenticator> authenticator::Guest for Exported<P> {
    fn authenticate(
        credentials: authenticator::Credentials,
    ) -> Result<Option<authenticator::Identity>, types::Failure> {
        let authenticator::Credentials { scheme, token } = credentials;
        let credentials = Credentials { scheme, token };
        let identity = enter(|plugin: &mut P| plugin.authenticate(&credentials))?;
        Ok(identity.map(authenticator::Identity::from))
    }
}

impl<P: Held + Authorizer> authorizer::Guest for Exported<P> {
    fn authorize(service: String, method: String) -> Result<(), types::Failure> {
        enter(|plugin: &mut P| plugin.authorize(&service, &method))
    }
}

impl<P: Held + EventHandler> event_handler::Guest for Exported<P> {
    fn on_event(
        topic: String,
        content_type: Option<String>,
        payload: Vec<u8>,
    ) -> Result<(), types::Failure> {
        let event = Event {
            topic,
            content_type,
            payload: Octets(payload),
        };
        enter(|plugin: &mut P| plugin.on_event(event))
    }
}

/// Puts an answer where the host looks for it.
fn answer(reply: &Reply) -> Result<(), Failure> {
    response::set_payload(&reply.payload)?;
    let mut headers = reply.headers.iter();
    headers.try_for_each(|(name, value)| response::set_header(name, value))
}

impl From<frame_extension::FrameHead> for FrameHead {
    fn from(head: frame_extension::FrameHead) -> Self {
        Self {
            kind: match head.kind {
                frame_extension::FrameKind::Hello => FrameKind::Hello,
                frame_extension::FrameKind::Welcome => FrameKind::Welcome,
                frame_extension::FrameKind::Data => FrameKind::Data,
                frame_extension::FrameKind::Ping => FrameKind::Ping,
                frame_extension::FrameKind::Pong => FrameKind::Pong,
                frame_extension::FrameKind::Bye => FrameKind::Bye,
                frame_extension::FrameKind::Ack => FrameKind::Ack,
                frame_extension::FrameKind::Err => FrameKind::Err,
            },
            direction: match head.direction {
                frame_extension::Direction::Inbound => Direction::Inbound,
                frame_extension::Direction::Outbound => Direction::Outbound,
            },
            flag_bits: head.flag_bits,
            header_bytes: head.header_bytes,
            payload_bytes: head.payload_bytes,
        }
    }
}

impl From<balancer::Instance> for Instance {
    fn from(instance: balancer::Instance) -> Self {
        let balancer::Instance {
            id,
            weight,
            zone,
            version,
            metadata,
        } = instance;
        Self {
            id,
            weight,
            zone,
            version,
            metadata,
        }
    }
}

impl From<Identity> for authenticator::Identity {
    fn from(identity: Identity) -> Self {
        let Identity {
            name,
            roles,
            claims,
            valid,
        } = identity;
        let millis = |valid: Duration| u64::try_from(valid.as_millis()).unwrap_or(u64::MAX);
        Self {
            name,
            roles,
            claims,
            valid_ms: valid.map(millis),
        }
    }
}
