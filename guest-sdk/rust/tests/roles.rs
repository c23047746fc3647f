//! Roles beside services, entered by the fake host as the gateway enters them.

use std::time::Duration;

use postern_guest::{
    Action, Authorizer, Balancer, Candidates, Credentials, Direction, Event, EventHandler, Failure,
    Frame, FrameExtension, FrameHead, FrameKind, Health, Identity, Instance, Kind, Octets, Plugin,
    Reply, Request, RequestInterceptor, Response, ResponseInterceptor, Result, Verdict, call,
    config, events,
    fake::{Crossings, Handled, Host, WholeFrame},
};

/// Does to a call what its header `x-do` says.
#[derive(Default)]
struct Gate {
    n_calls: u32,
}

impl RequestInterceptor for Gate {
    fn on_request(&mut self, request: &mut Request) -> Result<Action> {
        self.n_calls += 1;
        match request.header("x-do").as_deref() {
            Some("double") => {
                let number: f64 = request.payload()?;
                request.set_payload(number * 2.0)?;
            }
            Some("clean") => {
                request.remove_header("x-do")?;
                request.set_header(
                    "x-seen",
                    &format!("{}/{}", request.service(), request.method()),
                )?;
            }
            Some("answer") => {
                return Ok(Action::Answer(Reply::new([self.n_calls])?.header("a", "b")));
            }
            Some(other) => return Err(Failure::permission_denied(other)),
            None => {}
        }
        Ok(Action::Proceed)
    }
}

impl ResponseInterceptor for Gate {
    fn on_response(&mut self, request: &Request, response: &mut Response) -> Result<()> {
        match response.failed() {
            Some(failure) if failure.kind == Kind::NotFound => {
                response.set_payload(Octets::default())
            }
            Some(_) => response.set_header("x-took", "0"),
            None => {
                let closed = request
                    .payload::<Octets>()
                    .err()
                    .map(|failure| failure.kind);
                assert_eq!(closed, Some(Kind::FailedPrecondition));
                let micros = response.elapsed().as_micros().to_string();
                response.set_header("x-took", &micros)
            }
        }
    }
}

postern_guest::export!(Gate: RequestInterceptor, ResponseInterceptor);

fn request_with(what: &str) -> Host {
    let host = Host::new();
    host.header("x-do", what).request("sums", "Double", "21");
    host
}

#[test]
fn an_interceptor_changes_headers_and_message() {
    let host = request_with("double");
    assert_eq!(host.on_request(&mut Gate::default()), Ok(Action::Proceed));
    assert_eq!(host.request_payload(), Octets::from("42.0"));
    assert_eq!(host.crossings(), Crossings { read: 1, set: 1 });
    let host = request_with("clean");
    assert_eq!(host.on_request(&mut Gate::default()), Ok(Action::Proceed));
    assert_eq!(
        host.request_headers(),
        [("x-seen".to_owned(), b"sums/Double".to_vec())]
    );
    assert_eq!(host.crossings(), Crossings { read: 0, set: 0 });
}

#[test]
fn an_interceptor_answers_or_refuses_and_keeps_its_state() {
    let host = request_with("answer");
    let mut gate = Gate::default();
    for n in ["[1]", "[2]"] {
        let reply = Reply::from(Octets::from(n)).header("a", "b");
        assert_eq!(host.on_request(&mut gate), Ok(Action::Answer(reply)));
    }
    let host = request_with("go away");
    let refused = host.on_request(&mut gate).unwrap_err();
    assert_eq!(refused, Failure::permission_denied("go away"));
}

#[test]
fn an_outcome_is_seen_and_changed_as_the_gateway_allows() {
    let host = Host::new();
    host.elapsed(Duration::from_micros(1500));
    let reply = Reply::from(Octets::from("1"));
    let seen = host.on_response(&mut Gate::default(), Ok(reply.clone()));
    assert_eq!(seen, Ok(reply.header("x-took", "1500")));
    let seen = host.on_response(&mut Gate::default(), Err(Failure::not_found("no user 7")));
    assert_eq!(seen, Ok(Reply::default()));
    let seen = host.on_response(&mut Gate::default(), Err(Failure::aborted("again")));
    assert_eq!(
        seen.unwrap_err().kind,
        Kind::FailedPrecondition,
        "a failure has no headers"
    );
}

#[test]
fn the_messages_of_a_stream_are_not_seen() {
    let host = request_with("double");
    host.streaming();
    let failure = host.on_request(&mut Gate::default()).unwrap_err();
    assert_eq!(failure.kind, Kind::FailedPrecondition);
    assert_eq!(host.crossings(), Crossings { read: 0, set: 0 });
}

#[test]
fn headers_of_a_request_are_bounded() {
    struct Long(usize, usize);
    impl Plugin for Long {
        fn start() -> Result<Self> {
            Ok(Self(1, 0))
        }
    }
    impl RequestInterceptor for Long {
        fn on_request(&mut self, request: &mut Request) -> Result<Action> {
            request.set_header(&"k".repeat(self.0), &"v".repeat(self.1))?;
            Ok(Action::Proceed)
        }
    }
    let host = Host::new();
    let fits = |name, value| host.on_request(&mut Long(name, value)).is_ok();
    assert!(fits(255, 0) && !fits(256, 0) && !fits(0, 1));
    assert!(fits(255, 65_535 - 255) && !fits(255, 65_536 - 255));
}

#[test]
fn what_an_interceptor_adds_stands_beside_what_is_there() {
    #[derive(Default)]
    struct Twice;
    impl RequestInterceptor for Twice {
        fn on_request(&mut self, request: &mut Request) -> Result<Action> {
            request.set_header("a", "1")?;
            request.add_header("a", "2")?;
            assert!(request.add_header("", "3").is_err());
            Ok(Action::Proceed)
        }
    }
    let host = Host::new();
    host.on_request(&mut Twice).unwrap();
    let headers = host.request_headers();
    let values: Vec<_> = headers.iter().map(|(_, value)| &**value).collect();
    assert_eq!(values, [b"1", b"2"]);
}

/// Drops large frames and pings, and shortens the others.
#[derive(Default)]
struct Short;

impl FrameExtension for Short {
    fn should_handle(&mut self, head: &FrameHead) -> bool {
        head.direction == Direction::Inbound && head.payload_bytes + head.header_bytes > 4
    }

    fn handle_frame(&mut self, frame: &mut Frame) -> Result<Verdict> {
        match frame.header("k").as_deref() {
            Some("drop") => return Ok(Verdict::Drop),
            Some(_) => frame.remove_header("k")?,
            None => {}
        }
        let payload = frame.payload();
        let Some(first) = payload.get(..4) else {
            return Err(Failure::invalid_argument("too short"));
        };
        frame.set_payload(first)?;
        Ok(Verdict::Pass)
    }
}

postern_guest::export!(Short: FrameExtension);

#[test]
fn a_frame_is_left_alone_changed_dropped_or_refused() {
    let host = Host::new();
    let frame = |payload: &str| WholeFrame::new(FrameKind::Data, Direction::Inbound, payload);
    let handle = |frame| host.on_frame(&mut Short, frame);
    assert_eq!(handle(frame("1234")), Ok(Handled::Untouched));
    assert_eq!(handle(frame("12345")), Ok(Handled::Passed(frame("1234"))));
    assert_eq!(
        handle(frame("12345").header("k", "v")),
        Ok(Handled::Passed(frame("1234")))
    );
    assert_eq!(
        handle(frame("12345").header("k", "drop")),
        Ok(Handled::Dropped)
    );
    let refused = handle(frame("1").header("k", "v")).unwrap_err();
    assert_eq!(refused.kind, Kind::InvalidArgument);
}

/// Picks by chance, and counts failures.
#[derive(Default)]
struct Dice {
    n_instances: usize,
    chances: Vec<u64>,
}

impl Balancer for Dice {
    fn update(&mut self, instances: Vec<Instance>) {
        self.n_instances = instances
            .iter()
            .filter(|i| i.metadata("off").is_none())
            .count();
    }

    fn pick(&mut self, key: u64, candidates: &Candidates) -> Option<usize> {
        assert_eq!(
            candidates.random(),
            candidates.random(),
            "one number a pick"
        );
        self.chances.push(candidates.random());
        candidates.first_usable(usize::try_from(key).ok()?, self.n_instances)
    }
}

postern_guest::export!(Dice: Balancer);

#[test]
fn a_balancer_is_told_what_is_usable_and_gets_new_chance_at_every_pick() {
    let host = Host::new();
    let mut dice = Dice::default();
    let off = Instance {
        metadata: vec![("off".into(), String::new())],
        ..Instance::default()
    };
    dice.update(vec![
        Instance::default(),
        Instance::default(),
        Instance::default(),
        off,
    ]);
    assert_eq!(
        [0, 2, 3].map(|key| host.pick(&mut dice, key)),
        [Some(0), Some(2), Some(0)]
    );
    host.usable([1]);
    assert_eq!(
        [0, 1, 2, 9].map(|key| host.pick(&mut dice, key)),
        [Some(1); 4]
    );
    host.usable([]);
    assert_eq!(host.pick(&mut dice, 0), None);
    let n_picks = dice.chances.len();
    dice.chances.sort_unstable();
    dice.chances.dedup();
    assert_eq!(dice.chances.len(), n_picks);
}

/// Lets in whom the claim `friend` names, and tells of who came.
struct Door {
    topic: String,
}

impl Plugin for Door {
    fn start() -> Result<Self> {
        let topic = config::require("topic")?;
        Ok(Self { topic })
    }

    fn health(&mut self) -> Health {
        Health::Degraded(self.topic.clone())
    }
}

impl Authorizer for Door {
    fn authorize(&mut self, service: &str, method: &str) -> Result<()> {
        let friend = call::claim("friend").ok_or_else(|| Failure::permission_denied(service))?;
        events::publish(&self.topic, &[friend.as_str(), method])?;
        Ok(())
    }
}

impl EventHandler for Door {
    fn on_event(&mut self, event: Event) -> Result<()> {
        let topic = event.topic.clone();
        let names: Vec<String> = event.read()?;
        events::publish_octets(
            &self.topic,
            None,
            format!("{topic} {}", names.len()).as_bytes(),
        )?;
        Ok(())
    }
}

postern_guest::export!(Door: Authorizer, EventHandler);

#[test]
fn a_plugin_that_lacks_its_config_does_not_start() {
    let host = Host::new();
    assert!(Door::start().is_err());
    host.config("topic", "t");
    assert_eq!(
        Door::start().unwrap().health(),
        Health::Degraded("t".to_owned())
    );
    assert_eq!(Gate::start().unwrap().health(), Health::Serving);
}

#[test]
fn claims_are_asked_for_and_events_published_where_granted() {
    let host = Host::new();
    host.config("topic", "doors.opened");
    let mut door = Door::start().unwrap();
    assert_eq!(door.authorize("users", "Get").unwrap_err().message, "users");
    host.principal("ada", &[]).claim("friend", "ada");
    assert_eq!(
        door.authorize("users", "Get").unwrap_err().kind,
        Kind::PermissionDenied
    );
    assert_eq!(host.published(), []);
    host.topic("doors.opened", 3);
    door.authorize("users", "Get").unwrap();
    host.on_event(&mut door, "doors", ["a", "b"]).unwrap();
    assert!(host.on_event(&mut door, "doors", 7).is_err());
    let published = host.published();
    let payloads: Vec<_> = published
        .iter()
        .map(|event| event.payload.clone())
        .collect();
    assert_eq!(
        payloads,
        [Octets::from(r#"["ada","Get"]"#), Octets::from("doors 2")]
    );
    assert_eq!(
        published[0].content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(published[1].content_type, None);
    assert_eq!(events::publish("doors.opened", "x"), Ok(3));
}

#[test]
fn topics_are_bounded() {
    let host = Host::new();
    let topic = "t".repeat(256);
    host.topic(&topic, 0).topic(&topic[1..], 0).topic("", 0);
    assert_eq!(events::publish(&topic[1..], &1), Ok(0));
    assert_eq!(
        events::publish(&topic, &1).unwrap_err().kind,
        Kind::InvalidArgument
    );
    assert_eq!(
        events::publish("", &1).unwrap_err().kind,
        Kind::InvalidArgument
    );
}

#[test]
fn a_token_is_not_shown() {
    let shown = format!("{:?}", Credentials::new("bearer", "secret"));
    assert!(
        shown.contains("bearer") && !shown.contains("secret"),
        "{shown}"
    );
    let identity = Identity::new("ada").role("admin").claim("tenant", "acme");
    assert_eq!(
        (identity.roles, identity.valid),
        (vec!["admin".to_owned()], None)
    );
}
