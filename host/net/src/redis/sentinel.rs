//! Who the master is that sentinels watch. One after the other is asked, and whom one names must say itself
//! that it is a master (Redis sentinel client specification).

use super::{
    connection::{Dialing, Request},
    failure::Failure,
    node_pool::Choice,
    routing::Routing,
};
use postern_core::{
    Blame, Error,
    redis::{RedisNode, RedisTopology},
};

impl Routing {
    /// The master, as it was named last or else as the sentinels name it.
    pub(super) async fn find_master(&self) -> Result<RedisNode, Error> {
        if let Some(master) = self.master.lock().clone() {
            return Ok(master);
        }
        let RedisTopology::Sentinel { sentinels, service } = &self.config.location.topology else {
            return Err(Error::internal("a store without sentinels asks them"));
        };
        // Others who ask meanwhile wait for what comes of it.
        let _asking = self.refreshing.lock().await;
        if let Some(master) = self.master.lock().clone() {
            return Ok(master);
        }
        let mut reasons = Vec::new();
        for sentinel in sentinels {
            match self.master_as_named_by(sentinel, service).await {
                Ok(master) => {
                    *self.master.lock() = Some(master.clone());
                    return Ok(master);
                }
                Err(reason) => reasons.push(reason),
            }
        }
        let message = format!(
            "store {}: no sentinel names a master of {service:?}: {}",
            self.config.name,
            reasons.join("; ")
        );
        Err(Error::unavailable(Blame::Upstream, message))
    }

    /// Whoever was the master may not be any more.
    pub(super) fn forget_master(&self) {
        *self.master.lock() = None;
    }

    async fn master_as_named_by(
        &self,
        sentinel: &RedisNode,
        service: &str,
    ) -> Result<RedisNode, String> {
        let dialing = Dialing {
            credentials: self.config.sentinel_credentials.clone(),
            database: 0,
            ..self.dialing.clone()
        };
        let connection = dialing.open(sentinel, None, Vec::new()).await;
        let connection = connection.map_err(|error| error.message.into_owned())?;
        let mut command = redis::cmd("SENTINEL");
        command.arg("get-master-addr-by-name").arg(service);
        let request = Request::One(command);
        let asked = connection.ask(&request, self.config.response_timeout);
        let reply = asked.await.map_err(|failure| failure.to_string())?;
        let named: Option<(String, String)> = redis::from_redis_value(reply)
            .map_err(|error| format!("{sentinel} answers {error}"))?;
        let (host, port) = named.ok_or_else(|| format!("{sentinel} knows no {service:?}"))?;
        let master = RedisNode::of_authority(&format!("{host}:{port}"));
        let master = master.ok_or_else(|| format!("{sentinel} names {host:?}:{port:?}"))?;
        self.check_role(&master).await?;
        Ok(master)
    }

    async fn check_role(&self, master: &RedisNode) -> Result<(), String> {
        let connection = self.acquire(master, Choice::LeastBusy).await;
        let connection = connection.map_err(|error| error.message.into_owned())?;
        let request = Request::One(redis::cmd("ROLE"));
        let asked = connection.ask(&request, self.config.response_timeout);
        let reply = match asked.await {
            Ok(reply) => reply,
            // Not every user may ask for that; then the sentinel's word counts.
            Err(Failure::Refused(_)) => return Ok(()),
            Err(failure) => return Err(failure.to_string()),
        };
        let role = reply.into_sequence().unwrap_or_default().into_iter().next();
        match role.map(redis::from_redis_value::<String>) {
            Some(Ok(role)) if role == "master" => Ok(()),
            Some(Ok(role)) => Err(format!("{master} says that it is a {role}")),
            Some(Err(_)) | None => Err(format!("{master} does not say what it is")),
        }
    }
}
