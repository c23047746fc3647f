//! Publishes as calls, and what became of a call as publications. Pure.
//!
//! | of the publish | in the call |
//! | --- | --- |
//! | payload | the message; with the named levels of a route as members |
//! | content type | `content-type` |
//! | user properties | headers; `traceparent` continues the trace, `timeout-ms` sets a deadline |
//! | topic, client, QoS | `mqtt-topic`, `mqtt-client-id`, `mqtt-qos` |
//! | named levels | `mqtt-param-NAME` |
//! | message expiry | the deadline |
//!
//! | of the reply | in the publication |
//! | --- | --- |
//! | message | payload; of a failure `{"error":…,"code":…}` as on every front |
//! | `content-type` | content type |
//! | its other headers | user properties |
//! | | `status`: `success`, or the name of the failure's kind; `code`: its HTTP number |
//! | | correlation data: that of the request |

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use postern_core::{
    Body, Call, Context, Error, Headers, Text, TraceContext,
    headers::HeaderError,
    mqtt::{Publication, PublicationProperties, Qos, TopicName},
    vsp::is_hop_header,
};
use postern_net::mqtt::MqttClient;

use super::routes::RoutedCall;

/// Where answers go, and what says to which request they belong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReplyAddress {
    pub topic: TopicName,
    pub correlation: Option<Bytes>,
    pub qos: Qos,
}

/// What a publication of a streamed reply is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReplyPart {
    /// All of the reply.
    Whole,
    /// One message of several.
    Item,
    /// Behind the last one.
    End,
}

/// The call that a publish is.
///
/// # Errors
/// `invalid-argument`: properties that are longer than headers may be, or a payload that contradicts the
/// topic.
pub(super) fn call_of(
    client: &MqttClient,
    publication: &Publication,
    routed: &RoutedCall,
    now: Instant,
) -> Result<Call, Error> {
    let payload = match routed.body(&publication.payload)? {
        Some(merged) => merged.into(),
        None => publication.payload.clone(),
    };
    let headers = headers_of(client, publication, routed).map_err(|error| {
        Error::invalid_argument(format!("user properties: {error}")).with_source(error)
    })?;
    let said = |name| user_property(publication, name);
    let trace = said("traceparent").and_then(TraceContext::parse);
    let timeout = said("timeout-ms").and_then(|ms| ms.parse().ok());
    let timeout = timeout.and_then(|ms| now.checked_add(Duration::from_millis(ms)));
    let context = Context {
        principal: client.principal.clone(),
        deadline: publication.expires_at.into_iter().chain(timeout).min(),
        trace,
        ..Context::of(Arc::clone(&client.peer))
    };
    Ok(Call {
        service: routed.service.clone(),
        method: routed.method.clone(),
        version: None,
        headers,
        body: Body::One(payload),
        context,
        http: None,
    })
}

/// Where the answer of a request goes; none of a publish that is none.
///
/// # Errors
/// A response topic that is no topic.
pub(super) fn reply_address(publication: &Publication) -> Result<Option<ReplyAddress>, Error> {
    let properties = publication.properties.as_deref();
    let Some(topic) = properties.and_then(|own| own.response_topic.as_ref()) else {
        return Ok(None);
    };
    let topic = TopicName::new(topic)
        .map_err(|error| Error::invalid_argument(format!("response topic {topic:?}: {error}")))?;
    Ok(Some(ReplyAddress {
        topic,
        correlation: properties.and_then(|own| own.correlation.clone()),
        qos: publication.qos,
    }))
}

/// A message of a reply.
#[must_use]
pub(super) fn reply_publication(
    address: &ReplyAddress,
    headers: &Headers,
    payload: Bytes,
    part: ReplyPart,
) -> Publication {
    let mut user = vec![(Text::from_static("status"), Text::from_static("success"))];
    match part {
        ReplyPart::Whole => {}
        ReplyPart::Item => user.push((Text::from_static("stream"), Text::from_static("item"))),
        ReplyPart::End => user.push((Text::from_static("stream"), Text::from_static("end"))),
    }
    let content_type = headers.get_str("content-type");
    let own = headers.iter().filter(|(key, _)| {
        let is_told = *key == b"content-type" || *key == b"stream" || is_hop_header(key);
        !is_told
    });
    for (key, value) in own {
        // What is no text is no user property.
        if let (Ok(key), Ok(value)) = (std::str::from_utf8(key), std::str::from_utf8(&value)) {
            user.push((key.into(), value.into()));
        }
    }
    made(address, content_type.as_deref(), payload, user)
}

/// A failure.
#[must_use]
pub(super) fn failure_publication(address: &ReplyAddress, error: &Error) -> Publication {
    let user = vec![
        (
            Text::from_static("status"),
            Text::from_static(error.kind.name()),
        ),
        (
            Text::from_static("code"),
            Text::from(error.kind.http().to_string()),
        ),
    ];
    let payload = error.to_json();
    made(address, Some("application/json"), payload, user)
}

fn made(
    address: &ReplyAddress,
    content_type: Option<&str>,
    payload: Bytes,
    user: Vec<(Text, Text)>,
) -> Publication {
    let mut publication = Publication::new(address.topic.clone(), payload, address.qos);
    publication.properties = Some(Box::new(PublicationProperties {
        content_type: content_type.map(Text::from),
        correlation: address.correlation.clone(),
        user,
        ..PublicationProperties::default()
    }));
    publication
}

fn user_property<'p>(publication: &'p Publication, name: &str) -> Option<&'p str> {
    let properties = publication.properties.as_deref()?;
    let mut user = properties.user.iter();
    let found = user.find(|(own, _)| own.eq_ignore_ascii_case(name))?;
    Some(found.1.as_str())
}

fn headers_of(
    client: &MqttClient,
    publication: &Publication,
    routed: &RoutedCall,
) -> Result<Headers, HeaderError> {
    let mut headers = Headers::new();
    if let Some(properties) = publication.properties.as_deref() {
        if let Some(kind) = &properties.content_type {
            headers.push("content-type", kind.as_bytes())?;
        }
        for (name, value) in &properties.user {
            let name = name.to_ascii_lowercase();
            let is_own = name.starts_with("mqtt-") || name == "content-type";
            if !name.is_empty() && !is_own && !is_hop_header(name.as_bytes()) {
                headers.push(name, value.as_bytes())?;
            }
        }
    }
    headers.push("mqtt-topic", publication.topic.name.as_bytes())?;
    headers.push("mqtt-client-id", client.client_id.as_bytes())?;
    headers.push("mqtt-qos", publication.qos.bits().to_string())?;
    for (name, value) in &routed.params {
        headers.push(format!("mqtt-param-{name}"), value)?;
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use postern_core::{Kind, testing};
    use postern_net::mqtt::MqttClient;

    use super::*;

    fn client() -> MqttClient {
        MqttClient {
            client_id: "c1".into(),
            version: postern_core::mqtt::MqttVersion::V5,
            user_name: None,
            principal: None,
            peer: Arc::default(),
        }
    }

    fn publication(user: &[(&str, &str)]) -> Publication {
        let topic = TopicName::new("devices/7/cmd").expect("a name");
        let mut made = Publication::new(topic, Bytes::from_static(b"{}"), Qos::AtLeastOnce);
        let pairs = user
            .iter()
            .map(|(name, value)| ((*name).into(), (*value).into()));
        made.properties = Some(Box::new(PublicationProperties {
            content_type: Some("application/json".into()),
            response_topic: Some("replies/c1".into()),
            correlation: Some(Bytes::from_static(b"\x07")),
            user: pairs.collect(),
            ..PublicationProperties::default()
        }));
        made
    }

    fn routed() -> RoutedCall {
        RoutedCall {
            service: "devices".into(),
            method: "Run".into(),
            params: vec![("id".into(), "7".to_owned())],
        }
    }

    #[test]
    fn a_publish_becomes_a_call() {
        let now = testing::epoch();
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let user = [
            ("X-Own", "1"),
            ("traceparent", trace),
            ("timeout-ms", "250"),
            ("service", "other"),
            ("mqtt-client-id", "forged"),
        ];
        let call = call_of(&client(), &publication(&user), &routed(), now).expect("a call");
        assert_eq!(
            (call.service.as_str(), call.method.as_str()),
            ("devices", "Run")
        );
        assert!(matches!(&call.body, Body::One(body) if *body == "{\"id\":\"7\"}"));
        assert_eq!(
            call.context.deadline,
            Some(now + Duration::from_millis(250))
        );
        assert!(call.context.trace.is_some());
        let headers: Vec<_> = call
            .headers
            .iter()
            .map(|(key, value)| format!("{}={}", key.escape_ascii(), value.escape_ascii()))
            .collect();
        assert_eq!(
            headers,
            [
                "content-type=application/json",
                "x-own=1",
                "mqtt-topic=devices/7/cmd",
                "mqtt-client-id=c1",
                "mqtt-qos=1",
                "mqtt-param-id=7"
            ]
        );
    }

    #[test]
    fn a_reply_goes_to_the_response_topic_with_the_correlation() {
        let address = reply_address(&publication(&[]))
            .expect("a topic")
            .expect("there");
        let mut headers = Headers::new();
        for (key, value) in [("content-type", "text/x"), ("own", "1"), ("status", "201")] {
            headers.push(key, value).expect("short");
        }
        let reply = reply_publication(
            &address,
            &headers,
            Bytes::from_static(b"x"),
            ReplyPart::Whole,
        );
        assert_eq!(
            (reply.topic.name.as_str(), reply.qos),
            ("replies/c1", Qos::AtLeastOnce)
        );
        let properties = reply.properties.expect("there");
        assert_eq!(properties.content_type.as_deref(), Some("text/x"));
        assert_eq!(properties.correlation.as_deref(), Some(&b"\x07"[..]));
        let user: Vec<_> = properties.user.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(user, [("status", "success"), ("own", "1")]);
        let failed = failure_publication(&address, &Error::not_found("no such device"));
        let user = failed.properties.expect("there").user;
        let user: Vec<_> = user.iter().map(|(k, v)| (&**k, &**v)).collect();
        assert_eq!(user, [("status", Kind::NotFound.name()), ("code", "404")]);
        assert_eq!(
            failed.payload,
            "{\"error\":\"no such device\",\"code\":404}"
        );
    }

    #[test]
    fn a_publish_without_response_topic_is_no_request() {
        let mut plain = publication(&[]);
        plain.properties = None;
        assert_eq!(reply_address(&plain).expect("none"), None);
        let mut wrong = publication(&[]);
        if let Some(properties) = &mut wrong.properties {
            properties.response_topic = Some("a/#".into());
        }
        assert!(reply_address(&wrong).is_err());
    }
}
