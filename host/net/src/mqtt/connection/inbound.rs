//! What the client sends.

use std::{
    cell::Cell,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::mqtt::{
    Decoded, Disconnect, InboundPublish, MqttInput, Publication, Qos, Reason, decode,
};
use tokio::io::ReadBuf;

use super::{
    Connection, End,
    taking::{Publishing, Step},
};
use crate::{
    link::StreamLink,
    mqtt::{Acceptance, MqttRefusal, PublishOutcome},
};

thread_local! {
    /// Where this thread reads to; taken out while it is in use.
    static SCRATCH: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
}

impl<S: StreamLink> Connection<S> {
    /// Handles what was read before, then reads once. True where something came.
    pub(super) fn poll_input(&mut self, cx: &mut Context<'_>, now: Instant) -> Result<bool, End> {
        if !self.may_handle() {
            return Ok(false);
        }
        if self.has_input {
            let mut input = std::mem::take(&mut self.input);
            let handled = self.handle(now, &input)?;
            bytes::Buf::advance(&mut input, handled);
            self.keep(&input)?;
            return Ok(true);
        }
        if self.paced_until.is_some() {
            return Ok(false);
        }
        let mut scratch = SCRATCH
            .take()
            .unwrap_or_else(|| vec![0; SCRATCH_BYTES].into());
        let mut buffer = ReadBuf::new(&mut scratch);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
        let handled = match read {
            Poll::Pending => Ok(false),
            Poll::Ready(Err(_)) => Err(End::lost()),
            Poll::Ready(Ok(())) if buffer.filled().is_empty() => Err(End::lost()),
            Poll::Ready(Ok(())) => self.on_read(now, buffer.filled()).map(|()| true),
        };
        SCRATCH.set(Some(scratch));
        handled
    }

    fn on_read(&mut self, now: Instant, octets: &[u8]) -> Result<(), End> {
        self.counts.bytes_in += octets.len() as u64;
        if self.input.is_empty() {
            let handled = self.handle(now, octets)?;
            return self.keep(octets.get(handled..).unwrap_or_default());
        }
        let mut input = std::mem::take(&mut self.input);
        input.extend_from_slice(octets);
        let handled = self.handle(now, &input)?;
        bytes::Buf::advance(&mut input, handled);
        self.input = input;
        self.hold()
    }

    /// Keeps what is not handled.
    fn keep(&mut self, octets: &[u8]) -> Result<(), End> {
        if !octets.is_empty() {
            self.input.extend_from_slice(octets);
        }
        self.hold()
    }

    /// Counts what is kept for the gateway.
    fn hold(&mut self) -> Result<(), End> {
        let n_octets = self.input.len();
        if n_octets == 0 {
            self.held = None;
            return Ok(());
        }
        let result = match &mut self.held {
            Some(held) if held.len() < n_octets => held.grow(n_octets - held.len()),
            Some(held) => {
                held.shrink_to(n_octets);
                Ok(())
            }
            None => self.bytes.hold(n_octets).map(|held| self.held = Some(held)),
        };
        result.map_err(|error| End::with(Reason::QUOTA_EXCEEDED, error.to_string()))
    }

    /// Whether another packet may be handled: what follows from packets is bounded.
    fn may_handle(&self) -> bool {
        self.machine.may_read() && self.taking.len() < TAKING_MAX && !self.is_output_full()
    }

    /// Handles whole packets at the front of `octets` and gives how many octets they were.
    fn handle(&mut self, now: Instant, octets: &[u8]) -> Result<usize, End> {
        let (version, limit) = {
            let negotiated = self.machine.negotiated();
            (Some(negotiated.version), negotiated.packet_bytes_in_max)
        };
        let mut at = 0;
        while self.may_handle() {
            let rest = octets.get(at..).unwrap_or_default();
            let decoded = decode(rest, version, limit).inspect_err(|_| {
                self.service.counters.protocol_errors.add(1);
            })?;
            let Some(Decoded { packet, n_octets }) = decoded else {
                self.has_input = false;
                return Ok(at);
            };
            at += n_octets;
            self.counts.packets_in += 1;
            let input = self.machine.handle(now, packet, &mut self.out);
            let input = input.inspect_err(|_| self.service.counters.protocol_errors.add(1))?;
            self.on_input(now, input)?;
        }
        self.has_input = at < octets.len();
        Ok(at)
    }

    #[inline]
    fn on_input(&mut self, now: Instant, input: MqttInput<'_>) -> Result<(), End> {
        match input {
            MqttInput::Nothing => {}
            MqttInput::Publish(inbound) => return self.on_publish(now, &inbound),
            MqttInput::Subscribe(subscribe) => self.on_subscribe(subscribe),
            MqttInput::Unsubscribe(unsubscribe) => self.on_unsubscribe(unsubscribe),
            MqttInput::Acknowledged(outgoing) => self.on_acknowledged(&outgoing),
            MqttInput::Received(id, outgoing) => self.on_received(id, outgoing),
            MqttInput::Completed(_) => {}
            MqttInput::Released(id) => self.on_released(id),
            MqttInput::Disconnected(disconnect) => return Err(self.on_disconnect(disconnect)),
        }
        Ok(())
    }

    fn on_disconnect(&self, disconnect: Disconnect) -> End {
        End {
            told: None,
            has_will: disconnect.reason != Reason::SUCCESS,
            session_expiry_s: disconnect.session_expiry_s,
        }
    }

    #[inline]
    fn on_publish(&mut self, now: Instant, inbound: &InboundPublish<'_>) -> Result<(), End> {
        let packet = &inbound.packet;
        let receipt = self.receipt_of(packet.id.filter(|_| packet.qos == Qos::ExactlyOnce));
        let backend = &self.service.backend;
        let routes = &self.broker.shared.routes;
        let known = self
            .topics
            .find(inbound.topic(), &**backend, &self.client, routes);
        let found = match known {
            Ok(known) => match known.allowed {
                Ok(()) => Ok((known.name.clone(), Arc::clone(&known.route))),
                Err(reason) => Err((reason, String::new())),
            },
            Err(error) => Err((Reason::TOPIC_NAME_INVALID, error.to_string())),
        };
        self.counts.received += 1;
        let (topic, route) = match found {
            Ok(found) => found,
            Err((reason, text)) => {
                let Some(id) = packet.id else {
                    let client = self.client.client_id.as_str();
                    tracing::debug!(client, %reason, "a publication with QoS 0 was refused");
                    return Ok(());
                };
                return self.refuse_publish(id, packet.qos, reason, text);
            }
        };
        let publication = Arc::new(Publication {
            topic,
            payload: Bytes::copy_from_slice(packet.payload),
            qos: packet.qos,
            is_retained: packet.is_retained,
            properties: packet.properties.clone(),
            expires_at: self
                .limits
                .expiry_s(packet.expiry_s)
                .and_then(|seconds| now.checked_add(Duration::from_secs(seconds.into()))),
            client: self.session.key,
            receipt,
        });
        let accepted = backend.publish(&self.client, &publication, route.is_kept);
        let publishing = Publishing {
            publication,
            route,
            id: packet.id,
            is_call: matches!(accepted, Acceptance::Call(_)),
        };
        match accepted {
            Acceptance::Now(taken) if self.taking.is_empty() => {
                return self.on_taken(now, publishing, taken);
            }
            Acceptance::Now(taken) => {
                let step = Step::Published(Box::new(publishing), taken);
                self.taking.push(Box::pin(std::future::ready(step)));
            }
            Acceptance::Later(taking) | Acceptance::Call(taking) => {
                let publishing = Box::new(publishing);
                self.taking.push(Box::pin(async move {
                    Step::Published(publishing, taking.await)
                }));
            }
        }
        Ok(())
    }

    /// A refusal takes its turn behind what came before.
    fn refuse_publish(
        &mut self,
        id: u16,
        qos: Qos,
        reason: Reason,
        text: String,
    ) -> Result<(), End> {
        if self.taking.is_empty() {
            return self.acknowledge(id, qos, reason, &text);
        }
        let topic = postern_core::mqtt::TopicName::of_event("");
        let publication = Arc::new(Publication::new(topic, Bytes::new(), qos));
        let publishing = Publishing {
            publication,
            route: Arc::default(),
            id: Some(id),
            is_call: false,
        };
        let step = Step::Published(Box::new(publishing), Err(MqttRefusal::new(reason, text)));
        self.taking.push(Box::pin(std::future::ready(step)));
        Ok(())
    }

    /// The backend has decided: subscribers are told, the client has its answer.
    #[inline]
    pub(super) fn on_taken(
        &mut self,
        _now: Instant,
        publishing: Publishing,
        taken: PublishOutcome,
    ) -> Result<(), End> {
        let Publishing {
            publication,
            route,
            id,
            is_call,
        } = publishing;
        let n_elsewhere = match taken {
            Ok(n_elsewhere) => n_elsewhere,
            Err(refusal) => {
                let Some(id) = id else {
                    let client = self.client.client_id.as_str();
                    let text = refusal.text.as_str();
                    tracing::debug!(client, reason = %refusal.reason, text, "not published");
                    return Ok(());
                };
                return self.acknowledge(id, publication.qos, refusal.reason, &refusal.text);
            }
        };
        let n_before = self.told.n_told;
        let routes = &self.broker.shared.routes;
        if is_call {
            // It is for the service alone.
        } else if route.is_current(routes) {
            route.deliver(&publication, &mut self.told);
        } else {
            routes
                .route(&publication.topic.name)
                .deliver(&publication, &mut self.told);
        }
        let Some(id) = id else {
            return Ok(());
        };
        let is_heard = self.told.n_told > n_before || n_elsewhere > 0;
        let reason = if is_heard {
            Reason::SUCCESS
        } else {
            Reason::NO_MATCHING_SUBSCRIBERS
        };
        if publication.qos == Qos::ExactlyOnce && self.session.is_durable() {
            self.keep_received(id, publication.receipt, reason);
            return Ok(());
        }
        self.acknowledge(id, publication.qos, reason, "")
    }

    pub(super) fn acknowledge(
        &mut self,
        id: u16,
        qos: Qos,
        reason: Reason,
        text: &str,
    ) -> Result<(), End> {
        let text = (!text.is_empty()).then_some(text);
        self.counts.packets_out += 1;
        match self
            .machine
            .on_published(id, qos, reason, text, &mut self.out)
        {
            true => Ok(()),
            false => Err(End::with(reason, text.unwrap_or_default())),
        }
    }
}

/// Read at a time: what one read of a socket gives at most is several times what it costs.
const SCRATCH_BYTES: usize = 64 * 1024;
/// Steps of one client that wait, whatever its receive maximum is.
const TAKING_MAX: usize = 1024;
