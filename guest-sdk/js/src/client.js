// Calls other services through the gateway. The manifest grants them by name:
// `[grants] services = ["users"]`.

import { Failure } from "./failure.js";
import { host } from "./host.js";
import { stringify } from "./json.js";
import { t } from "./schema.js";

const ANY = t.any();

/** Calls with a value as JSON and checks the reply by `options.type`. `timeout` in milliseconds shortens
 * what is left of this call's own deadline; it never extends it. */
export function call(service, method, value, options = {}) {
  const { type = ANY, headers = {}, timeout } = options;
  const reply = host().clientCallText(service, method, stringify(value), Object.entries(headers), timeout);
  try {
    return type.parseMessage(reply);
  } catch (error) {
    throw Failure.internal(`the reply of \`${service}/${method}\` cannot be read: ${error.message}`);
  }
}

/** The same with a message as it is, octets or text, and a reply as octets. */
export const callOctets = (service, method, body = "", { headers = {}, timeout } = {}) =>
  host().clientCall(service, method, body, Object.entries(headers), timeout);
