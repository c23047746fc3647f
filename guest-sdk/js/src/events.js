// Tells subscribers that something has happened. The manifest grants topics by pattern:
// `[grants] events = ["orders.*"]`. Nobody is waited for, and delivery is at most once,
// but for topics that the gateway makes durable: those are stored when the function returns.

import { host } from "./host.js";
import { stringify } from "./json.js";

/** Publishes a value as JSON. Gives how many subscribers there were. */
export const publish = (topic, value) => host().publish(topic, "application/json", stringify(value));

/** Publishes octets, or text, as they are. */
export const publishOctets = (topic, payload, contentType) => host().publish(topic, contentType, payload);
