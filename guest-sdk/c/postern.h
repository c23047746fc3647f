/* Plugins of the Postern gateway in C.
 *
 * A plugin is functions of its own and, for each role that it has, one macro at the end of this file. Only
 * those roles are exported.
 *
 * Memory. Everything that a function here gives out lies in the arena of the call under way: it is valid until
 * the plugin's function returns, and nobody frees it. What the plugin's function returns lies there too, or is
 * static; the arena is emptied before the next call. `malloc` is there for what lives longer. A 0 follows all
 * text that the host gave and all that was formatted, so that it is a C string as well.
 *
 * Compiled for anything but wasm32, the same functions speak to the fake host of postern_fake.h. */
#ifndef POSTERN_H
#define POSTERN_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Text or octets. They belong to nobody in particular; see above how long they are valid. */
typedef struct postern_slice {
    const char *at;
    size_t length;
} postern_slice;

/* What went wrong, in the field's standard terms; the numbers are those of HTTP. */
typedef enum postern_kind {
    POSTERN_CANCELLED,           /* 499 */
    POSTERN_UNKNOWN,             /* 500 */
    POSTERN_INVALID_ARGUMENT,    /* 400 */
    POSTERN_DEADLINE_EXCEEDED,   /* 504 */
    POSTERN_NOT_FOUND,           /* 404 */
    POSTERN_ALREADY_EXISTS,      /* 409 */
    POSTERN_PERMISSION_DENIED,   /* 403 */
    POSTERN_RESOURCE_EXHAUSTED,  /* 429 */
    POSTERN_FAILED_PRECONDITION, /* 400 */
    POSTERN_ABORTED,             /* 409 */
    POSTERN_OUT_OF_RANGE,        /* 400 */
    POSTERN_UNIMPLEMENTED,       /* 501 */
    POSTERN_INTERNAL,            /* 500 */
    POSTERN_UNAVAILABLE,         /* 503 */
    POSTERN_DATA_LOSS,           /* 500 */
    POSTERN_UNAUTHENTICATED,     /* 401 */
} postern_kind;

/* How something ended. `value` is what it gave, or the message of the failure: for people, lower case, naming
 * the value and the limit. A result may be returned as it is, so that a failure is passed on. */
typedef struct postern_result {
    bool failed;
    postern_kind kind;
    postern_slice value;
    /* Of a failure: one JSON value for programs; empty for none. */
    postern_slice details;
} postern_result;

typedef struct postern_field {
    postern_slice name;
    postern_slice value;
} postern_field;

typedef struct postern_fields {
    const postern_field *items;
    size_t length;
} postern_fields;

/* ---- Text and memory ---- */

/* A C string as a slice; it is not copied. */
postern_slice postern_text(const char *text);
bool postern_equals(postern_slice slice, const char *text);
bool postern_same(postern_slice one, postern_slice other);
/* As `printf`. `%.*s` with `(int)slice.length, slice.at` prints a slice. */
postern_slice postern_format(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* A copy, with a 0 behind it. */
postern_slice postern_copy(postern_slice slice);
/* The text itself where it is UTF-8, else a copy with U+FFFD for each octet that is not. All text that goes out is made
 * so, keys, headers, lines of the log and failures: the host ends an instance that hands over other text. */
postern_slice postern_utf8(postern_slice text);
postern_fields postern_utf8_fields_(const postern_field *fields, size_t n_fields);
/* Memory of the arena, aligned for everything and not set. Traps when there is none. */
void *postern_alloc(size_t bytes);
/* What was allocated after the mark is let go by `postern_release`: for the body of a long loop. */
typedef struct postern_mark {
    void *block;
    size_t used;
} postern_mark;
postern_mark postern_take_mark(void);
void postern_release(postern_mark mark);

/* ---- Results ---- */

postern_result postern_ok(postern_slice value);
/* Nothing was asked for and nothing went wrong. */
postern_result postern_done(void);
postern_result postern_fail(postern_kind kind, const char *format, ...) __attribute__((format(printf, 2, 3)));
postern_result postern_with_details(postern_result failure, postern_slice json);
/* `not-found`, as on every wire and in every log. */
const char *postern_kind_name(postern_kind kind);
bool postern_kind_of(postern_slice name, postern_kind *kind);

/* ---- JSON: read where it lies, written as text ---- */

/* Whether the text is one JSON value in UTF-8, of a depth of at most 64. The readers below expect one. */
bool postern_json_valid(postern_slice json);
/* The value of a key of an object, as JSON; false where there is none or `object` is none. */
bool postern_json_get(postern_slice object, const char *key, postern_slice *value);
/* The items of an array, one after the other: `*cursor` begins as 0. False after the last. */
bool postern_json_next(postern_slice array, size_t *cursor, postern_slice *item);
/* False where the value is something else, or does not fit. */
bool postern_json_string(postern_slice value, postern_slice *text);
bool postern_json_int(postern_slice value, int64_t *number);
bool postern_json_double(postern_slice value, double *number);
bool postern_json_bool(postern_slice value, bool *flag);
bool postern_json_is_null(postern_slice value);
bool postern_json_is_array(postern_slice value);
bool postern_json_is_object(postern_slice value);
/* Text as a JSON string, with its quotes. Octets that are not UTF-8 become U+FFFD. */
postern_slice postern_json_quote(postern_slice text);

/* ---- The call that is being answered ---- */

typedef enum postern_body_kind {
    POSTERN_MESSAGE,
    POSTERN_MESSAGES,
    POSTERN_OCTETS,
} postern_body_kind;

typedef struct postern_http_info {
    postern_slice method, scheme, authority, path;
    bool has_query;
    postern_slice query;
} postern_http_info;

typedef struct postern_peer_info {
    postern_slice transport;
    /* Empty where the transport has none. */
    postern_slice address;
} postern_peer_info;

/* The first value of a request header; false where there is none, or it is not UTF-8. */
bool postern_header(const char *name, postern_slice *value);
postern_fields postern_headers(void);
bool postern_http(postern_http_info *info);
postern_body_kind postern_request_kind(void);
/* In a stream, once `postern_next` has given the last message. */
postern_fields postern_trailers(void);
/* 200 to 599; of a caller by HTTP. A failure has the status of its kind. */
postern_result postern_set_status(uint16_t status);
/* What a stream sends are pieces of one body. */
postern_result postern_set_octets(void);
/* Adds a header to the reply; in a stream before the first message. */
postern_result postern_add_header(const char *name, postern_slice value);
/* Adds a header that follows the last message of a stream. */
postern_result postern_add_trailer(const char *name, postern_slice value);
postern_peer_info postern_peer(void);
/* False where no authenticator has said who calls. */
bool postern_principal(postern_slice *name);
bool postern_claim(const char *name, postern_slice *value);
uint64_t postern_remaining_ms(void);
postern_slice postern_correlation_id(void);
bool postern_traceparent(postern_slice *value);

/* In a stream: the next message; `*more` is false after the last. The message is valid until the next one is
 * taken. Fails with `cancelled` once the caller has left. */
postern_result postern_next(bool *more);
/* In a stream: sends one message. Blocks this instance only, while the caller reads slowly. */
postern_result postern_send(postern_slice message);

/* ---- What else the host offers ---- */

typedef enum postern_level {
    POSTERN_TRACE,
    POSTERN_DEBUG,
    POSTERN_INFO,
    POSTERN_WARN,
    POSTERN_ERROR,
} postern_level;

bool postern_log_enabled(postern_level level);
/* As `printf`. A line that would not be kept is not formatted. */
void postern_log(postern_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));
void postern_log_fields(postern_level level, postern_slice message, const postern_field *fields, size_t n_fields);

/* The table `config` of the manifest: text as it is, everything else as JSON. */
bool postern_config(const char *key, postern_slice *value);

/* A persistent store. Keys are 1 to 1,024 octets, values up to 1 MiB. */
postern_result postern_kv_get(postern_slice key, bool *found);
postern_result postern_kv_set(postern_slice key, postern_slice value);
postern_result postern_kv_delete(postern_slice key, bool *was);
/* Sets or deletes (`value` NULL) the key if its value is `expected` (NULL: absent), in one step. */
postern_result postern_kv_swap(postern_slice key, const postern_slice *expected, const postern_slice *value, bool *did);
/* Up to `limit` (at most 1,000) keys that begin with `prefix` and come after `after` (NULL: from the first). */
postern_result postern_kv_keys(postern_slice prefix, const postern_slice *after, uint32_t limit, const postern_slice **keys, size_t *n_keys);

/* Calls another service, which the manifest grants. `headers` may be NULL; a timeout of 0 ms is none. */
postern_result postern_call(postern_slice service, postern_slice method, postern_slice body, const postern_fields *headers, uint64_t timeout_ms);
/* Publishes an event to topics that the manifest grants. `content_type` may be NULL, and so may `n_subscribers`. */
postern_result postern_publish(postern_slice topic, const char *content_type, postern_slice payload, uint32_t *n_subscribers);

/* Metrics of the plugin's own. They stand at the gateway's `/metrics`: counter `jobs` of plugin `shop` is
 * `postern_plugin_counter_jobs_total{plugin="shop"}`, a gauge begins with `postern_plugin_gauge_` and a histogram with
 * `postern_plugin_histogram_`; see wit/metrics.wit for names, labels and how many there may be. `labels` may be NULL. */
typedef enum postern_metric_kind {
    /* A sum that only grows. */
    POSTERN_COUNTER,
    /* A value that goes up and down. */
    POSTERN_GAUGE,
    /* How many values lie within which bounds. */
    POSTERN_HISTOGRAM,
} postern_metric_kind;

/* What a metric is for, and the upper bounds of a histogram's buckets, which grow; without bounds it has usual ones. */
postern_result postern_metric_declare(const char *name, postern_metric_kind kind, const char *help, const double *bounds, size_t n_bounds);
/* Adds to a counter; `value` is 0 or more. */
postern_result postern_metric_increase(const char *name, const postern_field *labels, size_t n_labels, double value);
/* Sets a gauge. */
postern_result postern_metric_set(const char *name, const postern_field *labels, size_t n_labels, double value);
/* Adds to a gauge, or takes from it. */
postern_result postern_metric_adjust(const char *name, const postern_field *labels, size_t n_labels, double value);
/* Counts a value in a histogram. */
postern_result postern_metric_observe(const char *name, const postern_field *labels, size_t n_labels, double value);

/* One that answers for a service. */
typedef struct postern_service_instance {
    postern_slice id;
    /* Where it is reached: `tcp://10.0.0.7:9090`. None for a plugin of this gateway. */
    const postern_slice *addresses;
    size_t n_addresses;
    /* Empty for none. */
    postern_slice version, zone;
    /* Its share of the calls beside others; 0 while it is taken out. */
    uint32_t weight;
    postern_fields metadata;
    /* Whether it answered when it was last asked. */
    bool healthy;
    /* Told by another gateway that is lost at present. */
    bool stale;
} postern_service_instance;

/* All instances of a service at one moment, in the order of ids. Two with the same revision are equal. */
typedef struct postern_listing {
    postern_slice revision;
    const postern_service_instance *instances;
    size_t n_instances;
} postern_listing;

/* Who answers for a service, which the manifest grants: `[grants] directory = ["users"]`. */
postern_result postern_discover(postern_slice service, postern_listing *listing);
/* Waits until that is another listing than the one of `revision`. `*changed` is false when it is still the same after
 * `timeout_ms`, and a little before the call's own time is over. Waiting counts as time of a unary call and not as time
 * of a stream. */
postern_result postern_next_change(postern_slice service, postern_slice revision, uint32_t timeout_ms, bool *changed, postern_listing *listing);

/* For balancers, within `pick`. */
bool postern_usable(uint32_t index);
uint64_t postern_random(void);

/* For interceptors: the call, and what it came to. Changes of the request are for `on_request`. */
postern_slice postern_request_service(void);
postern_slice postern_request_method(void);
bool postern_request_header(const char *name, postern_slice *value);
postern_fields postern_request_headers(void);
postern_result postern_request_set_header(const char *name, postern_slice value);
postern_result postern_request_remove_header(const char *name);
/* The message of a unary call. Only here does it cross into the plugin. */
postern_result postern_request_payload(void);
postern_result postern_request_set_payload(postern_slice payload);
/* Whether the call failed, and how. */
bool postern_response_failed(postern_result *failure);
uint64_t postern_response_elapsed_micros(void);
bool postern_response_header(const char *name, postern_slice *value);
postern_fields postern_response_headers(void);
postern_result postern_response_set_header(const char *name, postern_slice value);
postern_result postern_response_remove_header(const char *name);
postern_result postern_response_payload(void);
postern_result postern_response_set_payload(postern_slice payload);

/* For frame extensions: the frame that is being handled. */
bool postern_frame_header(const char *name, postern_slice *value);
postern_fields postern_frame_headers(void);
postern_result postern_frame_set_header(const char *name, postern_slice value);
/* Beside those of that name. */
postern_result postern_frame_add_header(const char *name, postern_slice value);
postern_result postern_frame_remove_header(const char *name);
postern_slice postern_frame_payload(void);
postern_result postern_frame_set_payload(postern_slice payload);

/* ---- Services ---- */

typedef enum postern_shape {
    POSTERN_UNARY,
    POSTERN_CLIENT_STREAM,
    POSTERN_SERVER_STREAM,
    POSTERN_BIDIRECTIONAL,
} postern_shape;

/* One method: `unary` or, with another shape, `stream`. */
typedef struct postern_method {
    /* `*` stands for every method that has no line of its own. */
    const char *name;
    /* One sentence for people. */
    const char *summary;
    postern_shape shape;
    postern_result (*unary)(postern_slice method, postern_slice body);
    postern_result (*stream)(postern_slice method);
    /* Whether a second identical call changes nothing more: such calls may be retried. */
    bool idempotent;
    /* Names of types and their JSON Schemas (2020-12); NULL for none. */
    const char *request, *request_schema, *response, *response_schema;
} postern_method;

typedef struct postern_service {
    const char *name;
    /* A semantic version; NULL for none. */
    const char *version;
    const char *summary;
    const postern_method *methods;
    size_t n_methods;
} postern_service;

typedef struct postern_instance {
    /* Its name in the directory. */
    postern_slice id;
    /* 100 is the usual one, 0 means no new calls. */
    uint32_t weight;
    /* Empty for none. */
    postern_slice zone, version;
    postern_fields metadata;
} postern_instance;

typedef enum postern_outcome {
    POSTERN_OUTCOME_SUCCESS,
    POSTERN_OUTCOME_FAILURE,
    POSTERN_OUTCOME_TIMEOUT,
} postern_outcome;

typedef enum postern_action {
    /* The call goes on, with what was changed in the request. */
    POSTERN_PROCEED,
    /* It is answered by what was set in the response, and goes no further. */
    POSTERN_ANSWER,
} postern_action;

typedef enum postern_status {
    POSTERN_SERVING,
    POSTERN_DEGRADED,
    POSTERN_NOT_SERVING,
} postern_status;

/* In the order of `frame-kind` in wit/types.wit. */
typedef enum postern_frame_kind {
    POSTERN_FRAME_HELLO,
    POSTERN_FRAME_WELCOME,
    POSTERN_FRAME_DATA,
    POSTERN_FRAME_PING,
    POSTERN_FRAME_PONG,
    POSTERN_FRAME_BYE,
    POSTERN_FRAME_ACK,
    POSTERN_FRAME_ERR,
} postern_frame_kind;

/* A frame without its headers and payload. */
typedef struct postern_frame_head {
    postern_frame_kind kind;
    /* From the gateway to a peer; otherwise from a peer to the gateway. */
    bool is_outbound;
    /* 0x01 wants an ACK, 0x10 one part of a message, 0x20 compressed payload. */
    uint8_t flag_bits;
    uint32_t header_bytes, payload_bytes;
} postern_frame_head;

/* Who a caller is. */
typedef struct postern_identity {
    postern_slice name;
    const postern_slice *roles;
    size_t n_roles;
    /* What else is known: `tenant`, `email`. */
    postern_fields claims;
    /* How long the gateway may remember this answer for the same credentials; 0: not beyond this call. */
    uint64_t valid_ms;
} postern_identity;

typedef postern_result postern_on_event(postern_slice topic, postern_slice content_type, postern_slice payload);
typedef postern_result postern_on_request(postern_action *action);
typedef postern_result postern_on_response(void);
typedef postern_status postern_check(postern_slice *why);
/* Instances are valid until `update` returns. `pick` gives an index, or -1 to leave it to the gateway. */
typedef void postern_update(const postern_instance *instances, size_t n_instances);
typedef int64_t postern_pick(uint64_t key);
/* The token is secret. `*known` left false: not this plugin's to judge. A failure (`unauthenticated`) refuses. */
typedef postern_result postern_authenticate(postern_slice scheme, postern_slice token, bool *known, postern_identity *identity);
/* A failure (`permission-denied`) refuses the call of the caller that `postern_principal` gives. */
typedef postern_result postern_authorize(postern_slice service, postern_slice method);
/* Decided from the head alone; a frame that is not handled is not looked at. */
typedef bool postern_should_handle(postern_frame_head head);
/* `*drop` set: the frame is forgotten. A failure refuses it: the peer is told by ERR. */
typedef postern_result postern_handle_frame(bool *drop);
typedef void postern_on_done(uint32_t index, postern_outcome outcome, uint64_t micros);

/* Roles. Each at most once, at the end of a file.
 *
 * POSTERN_SERVICE(service)              `describe` and `schemas` of a `postern_service`
 * POSTERN_HANDLER                       its unary methods: `handler` and `batch-handler`
 * POSTERN_TEXT_HANDLER                  the same for messages that are text, in its place: `text-handler`. What is not
 *                                       UTF-8 is refused before the plugin is entered, and none come together
 * POSTERN_STREAM_HANDLER                its streaming methods; unary ones too, one message in and one out
 * POSTERN_EVENT_HANDLER(on_event)       content type and payload may be empty
 * POSTERN_REQUEST_INTERCEPTOR(on_request)
 * POSTERN_RESPONSE_INTERCEPTOR(on_response)
 * POSTERN_BALANCER(update, pick, done)  `done` may be NULL
 * POSTERN_AUTHENTICATOR(authenticate)
 * POSTERN_AUTHORIZER(authorize)
 * POSTERN_FRAME_EXTENSION(should_handle, handle_frame)
 * POSTERN_HEALTH(check)                 `why` may be set */
#ifdef __wasm__
#define POSTERN_EXPORT_(name) __attribute__((export_name("postern:gateway/" name)))

#define POSTERN_SERVICE(the_service)                                                                   \
    const postern_service *const postern_service_ = &(the_service);                                    \
    POSTERN_EXPORT_("describe@0.1.0#services") void *postern_export_services_(void) {                  \
        return postern_enter_services_();                                                              \
    }                                                                                                  \
    POSTERN_EXPORT_("schemas@0.1.0#schemas") void *postern_export_schemas_(void) {                     \
        return postern_enter_schemas_();                                                               \
    }
#define POSTERN_HANDLER                                                                                \
    POSTERN_EXPORT_("handler@0.1.0#handle")                                                            \
    void *postern_export_handle_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b)) { \
        return postern_enter_handle_(s_at, s_length, m_at, m_length, b_at, b_length);                  \
    }                                                                                                  \
    POSTERN_EXPORT_("batch-handler@0.1.0#handle-batch")                                                \
    void *postern_export_handle_batch_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b), \
                                       const uint32_t *lengths, size_t n_lengths) {                    \
        return postern_enter_handle_batch_(s_at, s_length, m_at, m_length, b_at, b_length, lengths, n_lengths); \
    }
#define POSTERN_TEXT_HANDLER                                                                           \
    POSTERN_EXPORT_("text-handler@0.1.0#handle-text")                                                  \
    void *postern_export_handle_text_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b)) { \
        return postern_enter_handle_text_(s_at, s_length, m_at, m_length, b_at, b_length);             \
    }
#define POSTERN_STREAM_HANDLER                                                                         \
    POSTERN_EXPORT_("stream-handler@0.1.0#handle-stream")                                              \
    void *postern_export_handle_stream_(postern_slice_args_(s), postern_slice_args_(m)) {              \
        return postern_enter_handle_stream_(s_at, s_length, m_at, m_length);                           \
    }
#define POSTERN_EVENT_HANDLER(on_event)                                                                \
    POSTERN_EXPORT_("event-handler@0.1.0#on-event")                                                    \
    void *postern_export_on_event_(postern_slice_args_(t), uint32_t is_typed, postern_slice_args_(c), postern_slice_args_(p)) { \
        return postern_enter_on_event_(on_event, t_at, t_length, is_typed, c_at, c_length, p_at, p_length); \
    }
#define POSTERN_REQUEST_INTERCEPTOR(on_request)                                                        \
    POSTERN_EXPORT_("request-interceptor@0.1.0#on-request") void *postern_export_on_request_(void) {   \
        return postern_enter_on_request_(on_request);                                                  \
    }
#define POSTERN_RESPONSE_INTERCEPTOR(on_response)                                                      \
    POSTERN_EXPORT_("response-interceptor@0.1.0#on-response") void *postern_export_on_response_(void) { \
        return postern_enter_on_response_(on_response);                                                \
    }
#define POSTERN_BALANCER(update, pick, done)                                                           \
    POSTERN_EXPORT_("balancer@0.1.0#update") void postern_export_update_(const void *instances, size_t length) { \
        postern_enter_update_(update, instances, length);                                              \
    }                                                                                                  \
    POSTERN_EXPORT_("balancer@0.1.0#pick") void *postern_export_pick_(uint64_t key) {                  \
        return postern_enter_pick_(pick, key);                                                         \
    }                                                                                                  \
    POSTERN_EXPORT_("balancer@0.1.0#done")                                                             \
    void postern_export_done_(uint32_t index, uint32_t outcome, uint64_t micros) {                     \
        postern_enter_done_(done, index, outcome, micros);                                             \
    }
#define POSTERN_AUTHENTICATOR(authenticate)                                                            \
    POSTERN_EXPORT_("authenticator@0.1.0#authenticate")                                                \
    void *postern_export_authenticate_(postern_slice_args_(s), postern_slice_args_(t)) {               \
        return postern_enter_authenticate_(authenticate, s_at, s_length, t_at, t_length);              \
    }
#define POSTERN_AUTHORIZER(authorize)                                                                  \
    POSTERN_EXPORT_("authorizer@0.1.0#authorize")                                                      \
    void *postern_export_authorize_(postern_slice_args_(s), postern_slice_args_(m)) {                  \
        return postern_enter_authorize_(authorize, s_at, s_length, m_at, m_length);                    \
    }
#define POSTERN_FRAME_EXTENSION(should_handle, handle_frame)                                           \
    POSTERN_EXPORT_("frame-extension@0.1.0#should-handle")                                             \
    bool postern_export_should_handle_(uint32_t kind, uint32_t direction, uint32_t flags, uint32_t headers, uint32_t payload) { \
        return postern_enter_should_handle_(should_handle, kind, direction, flags, headers, payload);  \
    }                                                                                                  \
    POSTERN_EXPORT_("frame-extension@0.1.0#handle-frame") void *postern_export_handle_frame_(void) {   \
        return postern_enter_handle_frame_(handle_frame);                                              \
    }
#define POSTERN_HEALTH(check)                                                                          \
    POSTERN_EXPORT_("health@0.1.0#check") void *postern_export_check_(void) { return postern_enter_check_(check); }

#define postern_slice_args_(name) const char *name##_at, size_t name##_length
void *postern_enter_services_(void);
void *postern_enter_schemas_(void);
void *postern_enter_handle_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b));
void *postern_enter_handle_text_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b));
void *postern_enter_handle_batch_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b), const uint32_t *lengths, size_t n_lengths);
void *postern_enter_handle_stream_(postern_slice_args_(s), postern_slice_args_(m));
void *postern_enter_on_event_(postern_on_event *on_event, postern_slice_args_(t), uint32_t is_typed, postern_slice_args_(c), postern_slice_args_(p));
void *postern_enter_on_request_(postern_on_request *on_request);
void *postern_enter_on_response_(postern_on_response *on_response);
void postern_enter_update_(postern_update *update, const void *instances, size_t length);
void *postern_enter_pick_(postern_pick *pick, uint64_t key);
void postern_enter_done_(postern_on_done *done, uint32_t index, uint32_t outcome, uint64_t micros);
void *postern_enter_authenticate_(postern_authenticate *authenticate, postern_slice_args_(s), postern_slice_args_(t));
void *postern_enter_authorize_(postern_authorize *authorize, postern_slice_args_(s), postern_slice_args_(m));
bool postern_enter_should_handle_(postern_should_handle *should, uint32_t kind, uint32_t direction, uint32_t flags, uint32_t headers, uint32_t payload);
void *postern_enter_handle_frame_(postern_handle_frame *handle);
void *postern_enter_check_(postern_check *check);
#else
/* Natively the fake host asks for them. */
#define POSTERN_SERVICE(the_service) const postern_service *postern_native_service_(void) { return &(the_service); }
#define POSTERN_HANDLER
#define POSTERN_TEXT_HANDLER bool postern_native_is_text_(void) { return true; }
#define POSTERN_STREAM_HANDLER
#define POSTERN_EVENT_HANDLER(on_event) postern_on_event *postern_native_on_event_(void) { return on_event; }
#define POSTERN_REQUEST_INTERCEPTOR(on_request) postern_on_request *postern_native_on_request_(void) { return on_request; }
#define POSTERN_RESPONSE_INTERCEPTOR(on_response) postern_on_response *postern_native_on_response_(void) { return on_response; }
#define POSTERN_BALANCER(update, pick, done)                        \
    postern_update *postern_native_update_(void) { return update; } \
    postern_pick *postern_native_pick_(void) { return pick; }       \
    postern_on_done *postern_native_done_(void) { return done; }
#define POSTERN_AUTHENTICATOR(authenticate) postern_authenticate *postern_native_authenticate_(void) { return authenticate; }
#define POSTERN_AUTHORIZER(authorize) postern_authorize *postern_native_authorize_(void) { return authorize; }
#define POSTERN_FRAME_EXTENSION(should_handle, handle_frame)                                    \
    postern_should_handle *postern_native_should_handle_(void) { return should_handle; }         \
    postern_handle_frame *postern_native_handle_frame_(void) { return handle_frame; }
#define POSTERN_HEALTH(check) postern_check *postern_native_check_(void) { return check; }
#endif

/* For postern_component.c and postern_fake.c. */
extern const postern_service *const postern_service_;
void postern_arena_reset_(void);
postern_result postern_serve_(const postern_service *service, postern_slice method, postern_slice body);
postern_result postern_serve_text_(const postern_service *service, postern_slice method, postern_slice body);
postern_result postern_serve_stream_(const postern_service *service, postern_slice method);

#endif
