//! A gateway with a listener of a protocol that is not built in.

use std::{
    net::SocketAddr,
    ops::{Deref, DerefMut},
};

use tokio::process::Command;

use crate::{
    clients::said,
    ports::free_address,
    process::{Finished, Gateway, Setup},
};

/// A gateway with one more listener, at an address of its own.
#[derive(Debug)]
pub struct ListenerGateway {
    pub gateway: Gateway,
    pub address: SocketAddr,
}

impl ListenerGateway {
    /// The listener has the name of its protocol. `config` may go on with keys of it: it comes before all
    /// other tables.
    ///
    /// # Panics
    /// When there is no free port, or the gateway does not start.
    pub async fn start(protocol: &str, setup: Setup, config: &str) -> Self {
        let address = free_address().expect("a free port");
        let config = format!(
            "[listeners.{protocol}]\nprotocol = \"{protocol}\"\naddress = \"{address}\"\n{config}\n{}",
            setup.config
        );
        let gateway = Gateway::start(Setup { config, ..setup }).await;
        Self { gateway, address }
    }

    /// Runs a program that prints `case: ok`, a line for each case, and wants all of them to be good. Says
    /// how many there are.
    ///
    /// # Panics
    /// When one is not.
    pub async fn cases(&self, command: &mut Command) -> usize {
        let Finished { code, out, err } = said(command).await;
        let faults: Vec<_> = out.lines().filter(|line| !line.ends_with(": ok")).collect();
        let n_cases = out.lines().count();
        assert!(
            code == Some(0) && faults.is_empty() && n_cases > 0,
            "{faults:#?}\n{err}\n{}",
            self.log()
        );
        n_cases
    }
}

impl Deref for ListenerGateway {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

impl DerefMut for ListenerGateway {
    fn deref_mut(&mut self) -> &mut Gateway {
        &mut self.gateway
    }
}
