// The call that is being answered. An instance serves one call at a time, so no handle is needed.

import { host } from "./host.js";

/** The first value of a request header; `undefined` also when it is not UTF-8. */
export const header = (name) => host().header(name);
/** All request headers in order, duplicates included: name and octets. */
export const headers = () => host().headers();
/** What HTTP says of the call; `undefined` where it did not come by HTTP. */
export const http = () => host().http();
/** What the body of the request is, as it came: `message`, `messages` or `octets`. */
export const requestKind = () => host().requestKind();
/** What follows the body of the request, in a streaming method once its last message was taken. */
export const trailers = () => host().trailers();
/** Sets the status that a client is answered with that came by HTTP: 200 to 599, 200 unless set. */
export const setStatus = (status) => host().setStatus(status);
/** Says that what is sent are pieces of one body, which goes to the client as it is. */
export const setOctets = () => host().setOctets();
/** Adds a header to the reply. Keys are 1 to 255 octets, all headers together 65,535. */
export const addHeader = (name, value) => host().addHeader(name, value);
/** Adds a header that follows the reply's last message. Bounded as headers are. */
export const addTrailer = (name, value) => host().addTrailer(name, value);
/** Who is at the other end of the session. */
export const peer = () => host().peer();
/** Who calls; `undefined` where no authenticator has said so. */
export const principal = () => host().principal();
/** One of the principal's claims: what an authenticator says about it beside name and roles. */
export const claim = (name) => host().claim(name);
/** Milliseconds until the caller stops waiting. */
export const remaining = () => host().remainingMs();
/** Chosen by the caller, unique among what is in flight on its session. */
export const correlationId = () => host().correlationId();
/** W3C trace context of this call. */
export const traceparent = () => host().traceparent();
