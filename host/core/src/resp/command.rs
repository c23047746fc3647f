//! The commands that are served: name, arity, what they touch, and what `COMMAND` says of them. A
//! command of two words stands under both, as in `client|id`.

use super::RespRequest;

/// A command, and what is known of it.
#[derive(Debug, PartialEq, Eq)]
pub struct RespCommand {
    /// Lower case.
    pub name: &'static str,
    /// Strings of a request; below zero, at least as many.
    pub arity: i8,
    pub access: CommandAccess,
    pub group: &'static str,
    /// Where its keys are: the first, the last, and how far they are apart.
    pub keys: [i8; 3],
    /// Parted by blanks, as Redis calls them.
    pub flags: &'static str,
    pub summary: &'static str,
}

/// What a command touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandAccess {
    /// The connection, and what is told to everybody.
    Session,
    /// Topics, as a publisher whose events pass.
    Publish,
    /// Topics, as a publisher whose events are stored.
    Append,
    /// Topics, as a subscriber of what passes.
    Subscribe,
    /// Topics, as a reader of what is stored.
    Consume,
    /// Topics, as a reader that has handled what it got.
    Acknowledge,
    /// Keys, and nothing of them changes.
    Read,
    /// Keys, whatever they were.
    Write,
    /// Keys, by what they were.
    Update,
    /// A service.
    Call,
}

/// What a command may overtake, or go on beside, on one connection. Answers are in order in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// It touches nothing that others touch.
    Free,
    /// It goes on beside others of its kind, in the order in which they are begun.
    Shared(CommandAccess),
    /// It begins when all before it have ended, and nothing begins before it has.
    Alone,
}

/// Why a request names no command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    Command,
    /// It has several, and none of this name.
    Subcommand {
        container: &'static str,
    },
    /// It is one that takes another number of arguments.
    Arity {
        name: &'static str,
    },
}

impl RespCommand {
    /// The command that a request names, whose number of arguments fits.
    ///
    /// # Errors
    /// What is to be said to whoever sent it, by [`Unknown::text`].
    pub fn of(request: &RespRequest) -> Result<&'static Self, Unknown> {
        let mut name = [0; NAME_BYTES_MAX];
        let first = lower(request.octets(0), &mut name).ok_or(Unknown::Command)?;
        let row = match (find(first), container(first)) {
            (Some(row), None) => row,
            (row, Some(container)) => match (request.try_octets(1), row) {
                (None, Some(row)) => row,
                (None, None) => return Err(Unknown::Arity { name: container }),
                (Some(second), _) => {
                    let length = first.len();
                    subcommand(&mut name, length, second)
                        .ok_or(Unknown::Subcommand { container })?
                }
            },
            (None, None) => return Err(Unknown::Command),
        };
        match row.takes(request.len()) {
            true => Ok(row),
            false => Err(Unknown::Arity { name: row.name }),
        }
    }

    /// What is known of the command called `name`, in any case.
    #[must_use]
    pub fn named(name: &[u8]) -> Option<&'static Self> {
        let mut lowered = [0; NAME_BYTES_MAX];
        find(lower(name, &mut lowered)?)
    }

    /// All commands of one word, and those that have several.
    pub fn rows() -> impl ExactSizeIterator<Item = &'static Self> {
        ROWS.iter()
    }

    fn takes(&self, n_strings: usize) -> bool {
        let wanted = usize::from(self.arity.unsigned_abs());
        match self.arity < 0 {
            true => n_strings >= wanted,
            false => n_strings == wanted,
        }
    }

    /// Whether it may be sent by whoever has not said who it is.
    #[must_use]
    pub fn is_for_strangers(&self) -> bool {
        matches!(self.name, "auth" | "hello" | "quit" | "reset")
    }

    /// Whether it may be sent by a client of version 2 that is told of events.
    #[must_use]
    pub fn is_for_subscribers(&self) -> bool {
        matches!(
            self.name,
            "subscribe" | "unsubscribe" | "psubscribe" | "punsubscribe" | "ping" | "quit" | "reset"
        )
    }

    /// Whether its answer is the same whatever else goes on.
    fn tells_the_same(&self) -> bool {
        matches!(
            self.name,
            "ping"
                | "echo"
                | "time"
                | "client|id"
                | "command"
                | "command|count"
                | "command|docs"
                | "command|info"
                | "command|list"
        )
    }

    /// What it may go on beside.
    #[must_use]
    pub fn lane(&self) -> Lane {
        match self.access {
            // Others say, or change, what the connection is.
            CommandAccess::Session => match self.tells_the_same() {
                true => Lane::Free,
                false => Lane::Alone,
            },
            CommandAccess::Subscribe | CommandAccess::Consume | CommandAccess::Update => {
                Lane::Alone
            }
            access @ (CommandAccess::Publish
            | CommandAccess::Append
            | CommandAccess::Acknowledge
            | CommandAccess::Read
            | CommandAccess::Write
            | CommandAccess::Call) => Lane::Shared(access),
        }
    }

    /// As the rules of who may call what name it: `xgroup-create`.
    #[must_use]
    pub fn method(&self) -> String {
        self.name.replace('|', "-")
    }
}

impl Unknown {
    /// What Redis says.
    #[must_use]
    pub fn text(self, request: &RespRequest) -> String {
        match self {
            Self::Command => {
                let mut arguments = String::new();
                for argument in request.rest(1) {
                    if arguments.len() >= SHOWN_BYTES_MAX {
                        break;
                    }
                    let room = SHOWN_BYTES_MAX - arguments.len();
                    let shown = argument.get(..room).unwrap_or(argument);
                    arguments.push('\'');
                    arguments.push_str(&String::from_utf8_lossy(shown));
                    arguments.push_str("' ");
                }
                let name = request.octets(0);
                let name = name.get(..SHOWN_BYTES_MAX).unwrap_or(name);
                let name = String::from_utf8_lossy(name);
                format!("ERR unknown command '{name}', with args beginning with: {arguments}")
            }
            Self::Subcommand { container } => {
                let second = request.octets(1);
                let second = second.get(..SHOWN_BYTES_MAX).unwrap_or(second);
                let second = String::from_utf8_lossy(second);
                let container = container.to_uppercase();
                format!("ERR unknown subcommand '{second}'. Try {container} HELP.")
            }
            Self::Arity { name } => {
                format!("ERR wrong number of arguments for '{name}' command")
            }
        }
    }
}

/// The name of a command that has several, where `name` is one.
fn container(name: &[u8]) -> Option<&'static str> {
    CONTAINERS.into_iter().find(|one| one.as_bytes() == name)
}

/// Adds `second` to the name of which the first `length` octets are there, and finds the row.
fn subcommand(
    name: &mut [u8; NAME_BYTES_MAX],
    length: usize,
    second: &[u8],
) -> Option<&'static RespCommand> {
    let (_, rest) = name.split_at_mut_checked(length)?;
    let (bar, rest) = rest.split_first_mut()?;
    *bar = b'|';
    let n_second = lower(second, rest)?.len();
    find(name.get(..length + 1 + n_second)?)
}

/// `name` in lower case, in `into`; `None` where it is longer than any name.
fn lower<'n>(name: &[u8], into: &'n mut [u8]) -> Option<&'n [u8]> {
    let lowered = into.get_mut(..name.len())?;
    lowered.copy_from_slice(name);
    lowered.make_ascii_lowercase();
    Some(lowered)
}

fn find(name: &[u8]) -> Option<&'static RespCommand> {
    // Few begin with one letter, so that whole names need not be put in order.
    let first = name.first();
    let begin = ROWS.partition_point(|row| row.name.as_bytes().first() < first);
    let rows = ROWS.get(begin..)?.iter();
    let mut rows = rows.take_while(|row| row.name.as_bytes().first() == first);
    rows.find(|row| row.name.as_bytes() == name)
}

/// Longest name, of two words.
const NAME_BYTES_MAX: usize = 32;
/// Of a stranger's text, shown back to it.
const SHOWN_BYTES_MAX: usize = 128;
/// Commands that have several. `command` is one by itself, too.
const CONTAINERS: [&str; 5] = ["client", "command", "pubsub", "xgroup", "xinfo"];

/// All, by name.
#[rustfmt::skip]
const ROWS: [RespCommand; 88] = {
    use CommandAccess::{
        Acknowledge, Append, Call, Consume, Publish, Read, Session, Subscribe, Update, Write,
    };
    [
        row("append", 3, Update, "string", [1, 1, 1], "write denyoom fast", "Appends to a string."),
        row("auth", -2, Session, "connection", [0, 0, 0], "noscript loading stale fast no_auth", "Says who the client is."),
        row("call", -2, Call, "postern", [0, 0, 0], "noscript", "Calls a method of a service."),
        row("client|getname", 2, Session, "connection", [0, 0, 0], "noscript loading stale", "The connection's name."),
        row("client|id", 2, Session, "connection", [0, 0, 0], "noscript loading stale", "The connection's number."),
        row("client|info", 2, Session, "connection", [0, 0, 0], "noscript loading stale", "What is known of the connection."),
        row("client|list", -2, Session, "connection", [0, 0, 0], "noscript loading stale", "The connections of the client: this one."),
        row("client|no-evict", 3, Session, "connection", [0, 0, 0], "noscript loading stale", "Does nothing: no client is evicted."),
        row("client|no-touch", 3, Session, "connection", [0, 0, 0], "noscript loading stale", "Does nothing: keys have no age of use."),
        row("client|reply", 3, Session, "connection", [0, 0, 0], "noscript loading stale", "Whether requests are answered."),
        row("client|setinfo", 4, Session, "connection", [0, 0, 0], "noscript loading stale", "Says which library the client is."),
        row("client|setname", 3, Session, "connection", [0, 0, 0], "noscript loading stale", "Names the connection."),
        row("command", -1, Session, "server", [0, 0, 0], "loading stale", "Every command."),
        row("command|count", 2, Session, "server", [0, 0, 0], "loading stale", "How many commands there are."),
        row("command|docs", -2, Session, "server", [0, 0, 0], "loading stale", "What commands are for."),
        row("command|info", -2, Session, "server", [0, 0, 0], "loading stale", "What is known of commands."),
        row("command|list", -2, Session, "server", [0, 0, 0], "loading stale", "The names of the commands."),
        row("dbsize", 1, Read, "server", [0, 0, 0], "readonly fast", "How many keys there are."),
        row("decr", 2, Update, "string", [1, 1, 1], "write denyoom fast", "Takes one from a number."),
        row("decrby", 3, Update, "string", [1, 1, 1], "write denyoom fast", "Takes from a number."),
        row("del", -2, Write, "keyspace", [1, -1, 1], "write", "Deletes keys."),
        row("discard", 1, Session, "transaction", [0, 0, 0], "noscript loading stale fast", "Refused, as MULTI is."),
        row("echo", 2, Session, "connection", [0, 0, 0], "loading stale fast", "Gives back what it is given."),
        row("exec", 1, Session, "transaction", [0, 0, 0], "noscript loading stale", "Refused, as MULTI is."),
        row("exists", -2, Read, "keyspace", [1, -1, 1], "readonly fast", "How many of the keys there are."),
        row("expire", -3, Update, "keyspace", [1, 1, 1], "write fast", "Sets a key's time to live in seconds."),
        row("expireat", -3, Update, "keyspace", [1, 1, 1], "write fast", "Sets when a key ends, in seconds."),
        row("expiretime", 2, Read, "keyspace", [1, 1, 1], "readonly fast", "When a key ends, in seconds."),
        row("get", 2, Read, "string", [1, 1, 1], "readonly fast", "The value of a key."),
        row("getdel", 2, Update, "string", [1, 1, 1], "write fast", "The value of a key, which is deleted."),
        row("getex", -2, Update, "string", [1, 1, 1], "write fast", "The value of a key, whose end is set."),
        row("getset", 3, Update, "string", [1, 1, 1], "write denyoom fast", "The value of a key, which is replaced."),
        row("hello", -1, Session, "connection", [0, 0, 0], "noscript loading stale fast no_auth", "Chooses the version of the protocol."),
        row("incr", 2, Update, "string", [1, 1, 1], "write denyoom fast", "Adds one to a number."),
        row("incrby", 3, Update, "string", [1, 1, 1], "write denyoom fast", "Adds to a number."),
        row("info", -1, Session, "server", [0, 0, 0], "loading stale", "What is known of the server."),
        row("keys", 2, Read, "keyspace", [0, 0, 0], "readonly", "The keys of a pattern."),
        row("mget", -2, Read, "string", [1, -1, 1], "readonly fast", "The values of keys."),
        row("mset", -3, Write, "string", [1, -1, 2], "write denyoom", "Sets keys."),
        row("multi", 1, Session, "transaction", [0, 0, 0], "noscript loading stale fast", "Refused: there are no transactions."),
        row("persist", 2, Update, "keyspace", [1, 1, 1], "write fast", "Takes a key's end away."),
        row("pexpire", -3, Update, "keyspace", [1, 1, 1], "write fast", "Sets a key's time to live in milliseconds."),
        row("pexpireat", -3, Update, "keyspace", [1, 1, 1], "write fast", "Sets when a key ends, in milliseconds."),
        row("pexpiretime", 2, Read, "keyspace", [1, 1, 1], "readonly fast", "When a key ends, in milliseconds."),
        row("ping", -1, Session, "connection", [0, 0, 0], "fast", "Whether somebody is there."),
        row("psetex", 4, Write, "string", [1, 1, 1], "write denyoom", "Sets a key for milliseconds."),
        row("psubscribe", -2, Subscribe, "pubsub", [0, 0, 0], "pubsub noscript loading stale", "Asks for the events of patterns."),
        row("pttl", 2, Read, "keyspace", [1, 1, 1], "readonly fast", "For how many milliseconds a key lasts."),
        row("publish", 3, Publish, "pubsub", [0, 0, 0], "pubsub loading stale fast", "Hands an event to every subscriber of its topic."),
        row("pubsub|channels", -2, Session, "pubsub", [0, 0, 0], "pubsub loading stale", "Channels that somebody subscribed to."),
        row("pubsub|numpat", 2, Session, "pubsub", [0, 0, 0], "pubsub loading stale", "Patterns that somebody subscribed to."),
        row("pubsub|numsub", -2, Session, "pubsub", [0, 0, 0], "pubsub loading stale", "How many subscribed to channels."),
        row("punsubscribe", -1, Session, "pubsub", [0, 0, 0], "pubsub noscript loading stale", "Asks for those of patterns no more."),
        row("quit", -1, Session, "connection", [0, 0, 0], "noscript loading stale fast no_auth", "Ends the connection."),
        row("reset", 1, Session, "connection", [0, 0, 0], "noscript loading stale fast no_auth", "Makes the connection as new."),
        row("scan", -2, Read, "keyspace", [0, 0, 0], "readonly", "Keys, some at a time."),
        row("select", 2, Session, "connection", [0, 0, 0], "loading stale fast", "Chooses among the granted stores."),
        row("set", -3, Write, "string", [1, 1, 1], "write denyoom", "Sets a key."),
        row("setex", 4, Write, "string", [1, 1, 1], "write denyoom", "Sets a key for seconds."),
        row("setnx", 3, Update, "string", [1, 1, 1], "write denyoom fast", "Sets a key that is not there."),
        row("strlen", 2, Read, "string", [1, 1, 1], "readonly fast", "The length of a value."),
        row("subscribe", -2, Subscribe, "pubsub", [0, 0, 0], "pubsub noscript loading stale", "Asks for the events of channels."),
        row("time", 1, Session, "server", [0, 0, 0], "loading stale fast", "The time here."),
        row("touch", -2, Read, "keyspace", [1, -1, 1], "readonly fast", "How many of the keys there are."),
        row("ttl", 2, Read, "keyspace", [1, 1, 1], "readonly fast", "For how many seconds a key lasts."),
        row("type", 2, Read, "keyspace", [1, 1, 1], "readonly fast", "What a key holds."),
        row("unlink", -2, Write, "keyspace", [1, -1, 1], "write fast", "Deletes keys."),
        row("unsubscribe", -1, Session, "pubsub", [0, 0, 0], "pubsub noscript loading stale", "Asks for those of channels no more."),
        row("unwatch", 1, Session, "transaction", [0, 0, 0], "noscript loading stale fast", "Refused, as MULTI is."),
        row("watch", -2, Session, "transaction", [1, -1, 1], "noscript loading stale fast", "Refused, as MULTI is."),
        row("xack", -4, Acknowledge, "stream", [1, 1, 1], "write fast", "Acknowledges entries that a group has."),
        row("xadd", -5, Append, "stream", [1, 1, 1], "write denyoom fast", "Stores an event of a durable topic."),
        row("xautoclaim", -6, Consume, "stream", [1, 1, 1], "write fast", "Gives entries that were not acknowledged to another consumer."),
        row("xclaim", -6, Consume, "stream", [1, 1, 1], "write fast", "Gives entries to another consumer."),
        row("xgroup|create", -5, Consume, "stream", [2, 2, 1], "write denyoom", "Makes a group."),
        row("xgroup|createconsumer", 5, Consume, "stream", [2, 2, 1], "write denyoom", "Makes a consumer of a group."),
        row("xgroup|delconsumer", 5, Consume, "stream", [2, 2, 1], "write", "Deletes a consumer of a group."),
        row("xgroup|destroy", 4, Consume, "stream", [2, 2, 1], "write", "Deletes a group."),
        row("xgroup|setid", -5, Consume, "stream", [2, 2, 1], "write", "Sets what a group gets next."),
        row("xinfo|consumers", 4, Consume, "stream", [2, 2, 1], "readonly", "The consumers of a group."),
        row("xinfo|groups", 3, Consume, "stream", [2, 2, 1], "readonly", "The groups of a durable topic."),
        row("xinfo|stream", -3, Consume, "stream", [2, 2, 1], "readonly", "What is known of a durable topic."),
        row("xlen", 2, Consume, "stream", [1, 1, 1], "readonly fast", "How many events are stored."),
        row("xpending", -3, Consume, "stream", [1, 1, 1], "readonly", "Entries of a group that were not acknowledged."),
        row("xrange", -4, Consume, "stream", [1, 1, 1], "readonly", "Events between two ids."),
        row("xread", -4, Consume, "stream", [0, 0, 0], "readonly blocking", "Events behind ids."),
        row("xreadgroup", -7, Consume, "stream", [0, 0, 0], "write blocking", "Events that a group has not had."),
        row("xrevrange", -4, Consume, "stream", [1, 1, 1], "readonly", "Events between two ids, the newest first."),
    ]
};

const fn row(
    name: &'static str,
    arity: i8,
    access: CommandAccess,
    group: &'static str,
    keys: [i8; 3],
    flags: &'static str,
    summary: &'static str,
) -> RespCommand {
    RespCommand {
        name,
        arity,
        access,
        group,
        keys,
        flags,
        summary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &[&str], expected: Result<&str, &str>) {
        let request = RespRequest::of(line);
        let found = RespCommand::of(&request);
        let found = found.map(|row| row.name);
        let found = found.map_err(|unknown| unknown.text(&request));
        assert_eq!(found, expected.map_err(str::to_owned), "{line:?}");
    }

    #[test]
    fn the_table_is_in_order_and_its_names_are_short() {
        assert!(ROWS.is_sorted_by(|one, other| one.name.as_bytes() < other.name.as_bytes()));
        for row in &ROWS {
            assert!(
                row.name.len() < NAME_BYTES_MAX && row.arity != 0,
                "{}",
                row.name
            );
            assert_eq!(row.name, row.name.to_ascii_lowercase());
        }
    }

    #[test]
    fn names_are_found_in_any_case() {
        check(&["GeT", "a"], Ok("get"));
        check(&["CLIENT", "SetName", "a"], Ok("client|setname"));
        check(&["command"], Ok("command"));
        check(&["command", "DOCS", "get"], Ok("command|docs"));
    }

    #[test]
    fn what_is_unknown_is_told_as_redis_tells_it() {
        check(
            &["foo", "a", "b"],
            Err("ERR unknown command 'foo', with args beginning with: 'a' 'b' "),
        );
        check(
            &["FOO"],
            Err("ERR unknown command 'FOO', with args beginning with: "),
        );
        check(
            &["client", "foo"],
            Err("ERR unknown subcommand 'foo'. Try CLIENT HELP."),
        );
        let long = "x".repeat(200);
        let shown = &long[..128];
        let text = format!("ERR unknown command '{shown}', with args beginning with: '{shown}' ");
        check(&[&long, &long, "y"], Err(&text));
    }

    #[test]
    fn another_number_of_arguments_is_told_with_the_name() {
        let text = "ERR wrong number of arguments for 'get' command";
        check(&["GET"], Err(text));
        check(&["GET", "a", "b"], Err(text));
        let text = "ERR wrong number of arguments for 'client|setname' command";
        check(&["client", "setname"], Err(text));
        let text = "ERR wrong number of arguments for 'client' command";
        check(&["client"], Err(text));
        check(&["MGET", "a", "b"], Ok("mget"));
    }
}
