//! The imports `request`, `response`, `frame` and `candidates` as the fake host offers them.

use std::collections::BTreeSet;

use crate::{
    body::Octets,
    failure::Failure,
    fake::{
        seam::check_headers,
        state::{self, State},
    },
};

/// Headers in order.
pub(crate) type Headers = Vec<(String, Vec<u8>)>;

/// How often payloads crossed between the host and the plugin.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Crossings {
    /// Into the plugin.
    pub read: u32,
    /// Out of it.
    pub set: u32,
}

/// What the current entry works on.
#[derive(Default)]
pub(crate) struct Subject {
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) request: Half,
    pub(crate) response: Half,
    pub(crate) frame: Half,
    /// Why the call failed.
    pub(crate) failed: Option<Failure>,
    /// Whether the call has ended.
    pub(crate) ended: bool,
    /// Whether request and reply are streams.
    pub(crate) streaming: bool,
    pub(crate) elapsed_micros: u64,
    pub(crate) crossings: Crossings,
    /// All when `None`.
    pub(crate) usable: Option<BTreeSet<usize>>,
    pub(crate) random: u64,
}

/// Headers and payload as they stand.
#[derive(Debug, Clone, Default)]
pub(crate) struct Half {
    pub(crate) headers: Headers,
    pub(crate) payload: Octets,
}

impl Half {
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let (_, value) = self.headers.iter().find(|(key, _)| key == name)?;
        String::from_utf8(value.clone()).ok()
    }

    pub(crate) fn set_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let mut headers = self.headers.clone();
        headers.retain(|(key, _)| key != name);
        headers.push((name.to_owned(), value.as_bytes().to_vec()));
        check_headers(name, headers.iter().map(|(k, v)| k.len() + v.len()).sum())?;
        self.headers = headers;
        Ok(())
    }

    fn add_header(&mut self, name: &str, value: &str) -> Result<(), Failure> {
        let present: usize = self.headers.iter().map(|(k, v)| k.len() + v.len()).sum();
        check_headers(name, present + name.len() + value.len())?;
        let header = (name.to_owned(), value.as_bytes().to_vec());
        self.headers.push(header);
        Ok(())
    }

    fn remove_header(&mut self, name: &str) {
        self.headers.retain(|(key, _)| key != name);
    }
}

pub(crate) mod request {
    use super::{Failure, Headers, Subject, subject};

    pub(crate) fn service() -> String {
        subject(|subject| subject.service.clone())
    }

    pub(crate) fn method() -> String {
        subject(|subject| subject.method.clone())
    }

    pub(crate) fn header(name: &str) -> Option<String> {
        subject(|subject| subject.request.header(name))
    }

    pub(crate) fn headers() -> Headers {
        subject(|subject| subject.request.headers.clone())
    }

    pub(crate) fn set_header(name: &str, value: &str) -> Result<(), Failure> {
        open(|subject| subject.request.set_header(name, value))
    }

    pub(crate) fn add_header(name: &str, value: &str) -> Result<(), Failure> {
        open(|subject| subject.request.add_header(name, value))
    }

    pub(crate) fn remove_header(name: &str) -> Result<(), Failure> {
        open(|subject| {
            subject.request.remove_header(name);
            Ok(())
        })
    }

    pub(crate) fn payload() -> Result<Vec<u8>, Failure> {
        open(|subject| {
            subject.read("request")?;
            Ok(subject.request.payload.0.clone())
        })
    }

    pub(crate) fn set_payload(payload: &[u8]) -> Result<(), Failure> {
        open(|subject| {
            subject.set("request")?;
            subject.request.payload = payload.into();
            Ok(())
        })
    }

    fn open<R>(work: impl FnOnce(&mut Subject) -> Result<R, Failure>) -> Result<R, Failure> {
        subject(|subject| {
            if subject.ended {
                let message = "the call has ended; its request is gone";
                return Err(Failure::failed_precondition(message));
            }
            work(subject)
        })
    }
}

pub(crate) mod response {
    use super::{Failure, Headers, Subject, subject};

    pub(crate) fn failed() -> Option<Failure> {
        subject(|subject| subject.failed.clone())
    }

    pub(crate) fn elapsed_micros() -> u64 {
        subject(|subject| {
            if subject.ended {
                subject.elapsed_micros
            } else {
                0
            }
        })
    }

    pub(crate) fn header(name: &str) -> Option<String> {
        subject(|subject| subject.response.header(name))
    }

    pub(crate) fn headers() -> Headers {
        subject(|subject| subject.response.headers.clone())
    }

    pub(crate) fn set_header(name: &str, value: &str) -> Result<(), Failure> {
        answered(|subject| subject.response.set_header(name, value))
    }

    pub(crate) fn add_header(name: &str, value: &str) -> Result<(), Failure> {
        answered(|subject| subject.response.add_header(name, value))
    }

    pub(crate) fn remove_header(name: &str) -> Result<(), Failure> {
        answered(|subject| {
            subject.response.remove_header(name);
            Ok(())
        })
    }

    pub(crate) fn payload() -> Result<Vec<u8>, Failure> {
        subject(|subject| {
            subject.read("reply")?;
            Ok(subject.response.payload.0.clone())
        })
    }

    pub(crate) fn set_payload(payload: &[u8]) -> Result<(), Failure> {
        subject(|subject| {
            subject.set("reply")?;
            subject.response.payload = payload.into();
            subject.failed = None;
            Ok(())
        })
    }

    fn answered(work: impl FnOnce(&mut Subject) -> Result<(), Failure>) -> Result<(), Failure> {
        subject(|subject| {
            if subject.failed.is_some() {
                let message = "a failure has no headers; set a payload first";
                return Err(Failure::failed_precondition(message));
            }
            work(subject)
        })
    }
}

pub(crate) mod frame {
    use super::{Failure, Headers, subject};

    pub(crate) fn header(name: &str) -> Option<String> {
        subject(|subject| subject.frame.header(name))
    }

    pub(crate) fn headers() -> Headers {
        subject(|subject| subject.frame.headers.clone())
    }

    pub(crate) fn set_header(name: &str, value: &str) -> Result<(), Failure> {
        subject(|subject| subject.frame.set_header(name, value))
    }

    pub(crate) fn add_header(name: &str, value: &str) -> Result<(), Failure> {
        subject(|subject| subject.frame.add_header(name, value))
    }

    pub(crate) fn remove_header(name: &str) -> Result<(), Failure> {
        subject(|subject| subject.frame.remove_header(name));
        Ok(())
    }

    pub(crate) fn payload() -> Vec<u8> {
        subject(|subject| {
            subject.crossings.read += 1;
            subject.frame.payload.0.clone()
        })
    }

    pub(crate) fn set_payload(payload: &[u8]) -> Result<(), Failure> {
        subject(|subject| {
            subject.crossings.set += 1;
            subject.frame.payload = payload.into();
        });
        Ok(())
    }
}

pub(crate) mod candidates {
    use super::subject;

    pub(crate) fn usable(index: u32) -> bool {
        subject(|subject| {
            let usable = subject.usable.as_ref();
            usable.is_none_or(|usable| usable.contains(&(index as usize)))
        })
    }

    pub(crate) fn random() -> u64 {
        subject(|subject| subject.random)
    }
}

impl Subject {
    fn read(&mut self, half: &str) -> Result<(), Failure> {
        self.check_unary(half)?;
        self.crossings.read += 1;
        Ok(())
    }

    fn set(&mut self, half: &str) -> Result<(), Failure> {
        self.check_unary(half)?;
        self.crossings.set += 1;
        Ok(())
    }

    fn check_unary(&self, half: &str) -> Result<(), Failure> {
        if self.streaming {
            let message =
                format!("the {half} is a stream; its messages do not pass an interceptor");
            return Err(Failure::failed_precondition(message));
        }
        Ok(())
    }
}

fn subject<R>(work: impl FnOnce(&mut Subject) -> R) -> R {
    state::with(|state: &mut State| work(&mut state.subject))
}
