// Postern plugins in JavaScript and TypeScript. The guide is README.md beside this package.

export * as call from "./call.js";
export * as client from "./client.js";
export * as config from "./config.js";
export * as directory from "./directory.js";
export * as events from "./events.js";
export * as kv from "./kv.js";
export * as log from "./log.js";
export * as metrics from "./metrics.js";
export { Failure, KINDS } from "./failure.js";
export {
  Event,
  Reply,
  asyncStreamHandler,
  authenticator,
  authorizer,
  balancer,
  eventHandler,
  frameExtension,
  health,
  onStart,
  reply,
  requestInterceptor,
  responseInterceptor,
} from "./roles.js";
export { t } from "./schema.js";
export { bidirectional, clientStream, method, serverStream, service } from "./service.js";
