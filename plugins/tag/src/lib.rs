//! Adds a header to what comes in: to DATA frames as a frame extension, to calls from HTTP as an
//! interceptor. No payload is asked for.

use postern_guest::{
    Action, Direction, Frame, FrameExtension, FrameHead, FrameKind, Plugin, Request,
    RequestInterceptor, Response, ResponseInterceptor, Result, Verdict, call, config,
};

const NAME_DEFAULT: &str = "x-tag";
const VALUE_DEFAULT: &str = "postern";

struct Tag {
    name: String,
    value: String,
    inbound: bool,
    outbound: bool,
}

impl Plugin for Tag {
    fn start() -> Result<Self> {
        let directions: Option<Vec<Way>> = config::get("directions")?;
        let directions = directions.unwrap_or_else(|| vec![Way::Inbound]);
        Ok(Self {
            name: config::text("name").unwrap_or_else(|| NAME_DEFAULT.to_owned()),
            value: config::text("value").unwrap_or_else(|| VALUE_DEFAULT.to_owned()),
            inbound: directions.contains(&Way::Inbound),
            outbound: directions.contains(&Way::Outbound),
        })
    }
}

impl FrameExtension for Tag {
    fn should_handle(&mut self, head: &FrameHead) -> bool {
        let wanted = match head.direction {
            Direction::Inbound => self.inbound,
            Direction::Outbound => self.outbound,
        };
        wanted && head.kind == FrameKind::Data
    }

    fn handle_frame(&mut self, frame: &mut Frame) -> Result<Verdict> {
        frame.set_header(&self.name, &self.value)?;
        Ok(Verdict::Pass)
    }
}

/// Only calls from HTTP: those of VSTP were tagged as frames.
impl RequestInterceptor for Tag {
    fn on_request(&mut self, request: &mut Request) -> Result<Action> {
        if self.inbound && is_from_http() {
            request.set_header(&self.name, &self.value)?;
        }
        Ok(Action::Proceed)
    }
}

impl ResponseInterceptor for Tag {
    fn on_response(&mut self, _: &Request, response: &mut Response) -> Result<()> {
        // A failure has no headers.
        if self.outbound && is_from_http() && response.failed().is_none() {
            response.set_header(&self.name, &self.value)?;
        }
        Ok(())
    }
}

postern_guest::export!(Tag: FrameExtension, RequestInterceptor, ResponseInterceptor);

/// A direction, as the manifest names it.
#[derive(PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Way {
    Inbound,
    Outbound,
}

fn is_from_http() -> bool {
    call::peer().transport == "http"
}

#[cfg(test)]
mod tests;
