//! The imports of one role each: what it is working on.

use crate::bindings::imports::postern::gateway;

/// Both halves of a call have the same functions.
macro_rules! half {
    ($half:ident) => {
        pub(crate) fn header(name: &str) -> Option<String> {
            gateway::$half::header(name)
        }

        pub(crate) fn headers() -> Vec<(String, Vec<u8>)> {
            gateway::$half::headers()
        }

        pub(crate) fn set_header(name: &str, value: &str) -> Result<(), Failure> {
            gateway::$half::set_header(name, value).map_err(Failure::from)
        }

        pub(crate) fn add_header(name: &str, value: &str) -> Result<(), Failure> {
            gateway::$half::add_header(name, value).map_err(Failure::from)
        }

        pub(crate) fn remove_header(name: &str) -> Result<(), Failure> {
            gateway::$half::remove_header(name).map_err(Failure::from)
        }

        pub(crate) fn set_payload(payload: &[u8]) -> Result<(), Failure> {
            gateway::$half::set_payload(payload).map_err(Failure::from)
        }
    };
}

pub(crate) mod request {
    use super::gateway;
    use crate::failure::Failure;

    half!(request);

    pub(crate) fn service() -> String {
        gateway::request::service()
    }

    pub(crate) fn method() -> String {
        gateway::request::method()
    }

    pub(crate) fn payload() -> Result<Vec<u8>, Failure> {
        gateway::request::payload().map_err(Failure::from)
    }
}

pub(crate) mod response {
    use super::gateway;
    use crate::failure::Failure;

    half!(response);

    pub(crate) fn failed() -> Option<Failure> {
        gateway::response::failed().map(Failure::from)
    }

    pub(crate) fn elapsed_micros() -> u64 {
        gateway::response::elapsed_micros()
    }

    pub(crate) fn payload() -> Result<Vec<u8>, Failure> {
        gateway::response::payload().map_err(Failure::from)
    }
}

pub(crate) mod frame {
    use super::gateway;
    use crate::failure::Failure;

    half!(frame);

    pub(crate) fn payload() -> Vec<u8> {
        gateway::frame::payload()
    }
}

pub(crate) mod candidates {
    use super::gateway;

    pub(crate) fn usable(index: u32) -> bool {
        gateway::candidates::usable(index)
    }

    pub(crate) fn random() -> u64 {
        gateway::candidates::random()
    }
}
