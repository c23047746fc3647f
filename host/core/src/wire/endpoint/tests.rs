//! Endpoints by hand: vectors, the published peers, the edges of every bound.

use super::*;
use crate::{
    headers::Headers,
    testing::epoch,
    wire::session::{Features, SessionConfig},
};

fn endpoint(role: Role) -> Endpoint {
    let mut next = 0;
    Endpoint::new(EndpointConfig::default(), role, move || {
        next += 1;
        SessionId(next)
    })
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 9090))
}

/// Carries datagrams between two endpoints until both are silent.
fn exchange(now: Instant, a: (&mut Endpoint, SocketAddr), b: (&mut Endpoint, SocketAddr)) {
    loop {
        let mut moved = false;
        while let Some((to, datagram)) = a.0.poll_transmit() {
            assert_eq!(to, b.1);
            b.0.handle_datagram(now, a.1, datagram);
            moved = true;
        }
        while let Some((to, datagram)) = b.0.poll_transmit() {
            assert_eq!(to, a.1);
            a.0.handle_datagram(now, b.1, datagram);
            moved = true;
        }
        if !moved {
            return;
        }
    }
}

fn events(endpoint: &mut Endpoint) -> Vec<Event> {
    std::iter::from_fn(|| endpoint.poll_event())
        .map(|(_, event)| event)
        .collect()
}

#[test]
fn a_client_greets_and_its_message_is_delivered_once() {
    let now = epoch();
    let (mut client, mut server) = (endpoint(Role::Client), endpoint(Role::Server));
    let (c, s) = (address(1), address(2));
    client.connect(now, s).expect("room");
    exchange(now, (&mut client, c), (&mut server, s));
    assert!(matches!(
        events(&mut client)[..],
        [Event::Established(Dialect::Full(_))]
    ));
    assert!(matches!(
        events(&mut server)[..],
        [Event::Established(Dialect::Full(_))]
    ));
    let frame = Frame::data(Headers::new(), vec![7; 50_000]);
    let id = client
        .send(now, s, frame.clone(), Delivery::Acknowledged)
        .expect("fits");
    for _ in 0..20 {
        exchange(now, (&mut client, c), (&mut server, s));
    }
    let [Event::Message(message)] = &events(&mut server)[..] else {
        panic!("one message")
    };
    assert_eq!(message.payload, frame.payload);
    assert_eq!(events(&mut client), [Event::Delivered(id)]);
    let _ = (Features::WIDE, SessionConfig::default());
}
