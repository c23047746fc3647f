/* The host behind postern.h: imports and exports of wit/, by hand in the canonical ABI. On wasm32 the layouts
 * of C and of the canonical ABI are the same. What the host gives lies in the arena, which is emptied when the
 * host first wants memory, or enters, after a call has ended: what a call gave is read in between. */
#ifdef __wasm__
#include "postern_abi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What guest-sdk/go/adapter/preview1.wat keeps here; its layout is told there. */
static struct {
    uint32_t may_call, line_bytes, line_descriptor;
    postern_fields fields[2];
    uint32_t line_bytes_max;
    char line[2048];
} adapter;

static const postern_field stream_fields[2] = {
    {{"stream", 6}, {"stdout", 6}},
    {{"stream", 6}, {"stderr", 6}},
};

union postern_ret postern_ret_;
static bool is_ended;
/* Where the host puts the message that `postern_next` asks for. */
static bool is_next;
static char *next_message;
static size_t next_bytes;
/* Of a batch, the call that is answered and that the host does not know of yet; -1 for none. */
int64_t postern_pending_turn_ = -1;

IMPORT("call", "turn") extern void call_turn(uint32_t index);
IMPORT("call", "header") extern void call_header(const char *name, size_t length, struct optional *out);
IMPORT("call", "headers") extern void call_headers(postern_fields *out);
IMPORT("call", "http") extern void call_http(struct http_shape *out);
IMPORT("call", "request-kind") extern uint32_t call_request_kind(void);
IMPORT("call", "trailers") extern void call_trailers(postern_fields *out);
IMPORT("call", "set-status") extern void call_set_status(uint32_t status, struct result *out);
IMPORT("call", "set-octets") extern void call_set_octets(struct result *out);
/* `set-header` and `set-trailer` add; every version of the host has them by these names. */
IMPORT("call", "set-header") extern void call_add_header(const char *name, size_t name_length, const char *value, size_t length, struct result *out);
IMPORT("call", "set-trailer") extern void call_add_trailer(const char *name, size_t name_length, const char *value, size_t length, struct result *out);
IMPORT("call", "peer") extern void call_peer(struct peer_shape *out);
IMPORT("call", "principal") extern void call_principal(struct principal_shape *out);
IMPORT("call", "claim") extern void call_claim(const char *name, size_t length, struct optional *out);
IMPORT("call", "remaining-ms") extern uint64_t call_remaining_ms(void);
IMPORT("call", "correlation-id") extern void call_correlation_id(postern_slice *out);
IMPORT("call", "traceparent") extern void call_traceparent(struct optional *out);
IMPORT("call", "next") extern void call_next(struct result *out);
IMPORT("call", "send") extern void call_send(const char *message, size_t length, struct result *out);
IMPORT("log", "enabled") extern uint32_t log_enabled(uint32_t level);
IMPORT("log", "write") extern void log_write(uint32_t level, const char *message, size_t length, const postern_field *fields, size_t n_fields);
IMPORT("config", "get") extern void config_get(const char *key, size_t length, struct optional *out);
IMPORT("kv", "get") extern void kv_get(const char *key, size_t length, struct result *out);
IMPORT("kv", "set") extern void kv_set(const char *key, size_t key_length, const char *value, size_t length, struct result *out);
IMPORT("kv", "delete") extern void kv_delete(const char *key, size_t length, struct result *out);
IMPORT("kv", "swap") extern void kv_swap(const char *key, size_t key_length, uint32_t is_expected, const char *expected, size_t expected_length, uint32_t is_value, const char *value, size_t length, struct result *out);
IMPORT("kv", "keys") extern void kv_keys(const char *prefix, size_t prefix_length, uint32_t is_after, const char *after, size_t after_length, uint32_t limit, struct result *out);
IMPORT("client", "call") extern void client_call(const char *service, size_t service_length, const char *method, size_t method_length, const char *body, size_t body_length, uint32_t is_some, const postern_field *headers, size_t n_headers, uint32_t is_timed, uint64_t timeout_ms, struct result *out);
IMPORT("events", "publish") extern void events_publish(const char *topic, size_t topic_length, uint32_t is_typed, const char *type, size_t type_length, const char *payload, size_t length, struct result *out);

__attribute__((import_module("wasi_snapshot_preview1"), import_name("postern_attach"))) extern void attach(void *block);

__attribute__((constructor)) static void start(void) {
    for (int i = 0; i < 2; i++)
        adapter.fields[i] = (postern_fields){&stream_fields[i], 1};
    adapter.line_bytes_max = sizeof adapter.line;
    adapter.may_call = 1;
    attach(&adapter);
}

void postern_begin_(void) {
    if (!is_ended)
        return;
    postern_arena_reset_();
    is_ended = false;
}

/* Every message of a stream lies in the same memory, so that a long stream does not grow. */
static void *next_room(size_t bytes) {
    is_next = false;
    if (bytes >= next_bytes) {
        free(next_message);
        next_bytes = bytes + 1;
        next_message = malloc(next_bytes);
        if (next_message == NULL)
            abort();
    }
    next_message[bytes] = 0;
    return next_message;
}

/* Nothing is ever grown. No import may be called from here. */
__attribute__((export_name("cabi_realloc"))) void *postern_export_realloc_(void *old, size_t old_bytes, size_t align, size_t bytes) {
    (void)old, (void)old_bytes, (void)align;
    adapter.may_call = 0;
    postern_begin_();
    char *at = is_next && align == 1 ? next_room(bytes) : postern_alloc(bytes + 1);
    at[bytes] = 0;
    adapter.may_call = 1;
    return at;
}

/* The stack lies at address 0 and grows towards it, so that its lowest octets are 0 unless somebody wrote through
 * a null pointer, which wasm allows. What the instance computed since is worth nothing. */
static void check_null(void) {
    static volatile uintptr_t nowhere;
    const volatile uint64_t *null = (const volatile uint64_t *)nowhere;
    if ((null[0] | null[1]) != 0) {
        fputs("something was written through a null pointer\n", stderr);
        abort();
    }
}

void *postern_end_(void) {
    check_null();
    postern_pending_turn_ = -1;
    is_ended = true;
    return &postern_ret_;
}

void postern_ask_(void) {
    if (postern_pending_turn_ < 0)
        return;
    uint32_t index = (uint32_t)postern_pending_turn_;
    postern_pending_turn_ = -1;
    call_turn(index);
}

bool postern_header(const char *name, postern_slice *value) {
    name = postern_utf8(postern_text(name)).at;
    struct optional out;
    postern_ask_();
    call_header(name, strlen(name), &out);
    return taken_optional(&out, value);
}

postern_fields postern_headers(void) {
    postern_fields out;
    postern_ask_();
    call_headers(&out);
    return out;
}

bool postern_http(postern_http_info *info) {
    struct http_shape out;
    postern_ask_();
    call_http(&out);
    if (out.is_some)
        *info = (postern_http_info){out.method, out.scheme, out.authority, out.path, out.query.is_some, out.query.value};
    return out.is_some;
}

postern_body_kind postern_request_kind(void) {
    postern_ask_();
    return (postern_body_kind)call_request_kind();
}

postern_fields postern_trailers(void) {
    postern_fields out;
    postern_ask_();
    call_trailers(&out);
    return out;
}

postern_result postern_set_status(uint16_t status) {
    struct result out;
    postern_ask_();
    call_set_status(status, &out);
    return taken_empty(&out);
}

postern_result postern_set_octets(void) {
    struct result out;
    call_set_octets(&out);
    return taken_empty(&out);
}

postern_result postern_add_header(const char *name, postern_slice value) {
    name = postern_utf8(postern_text(name)).at;
    value = postern_utf8(value);
    struct result out;
    postern_ask_();
    call_add_header(name, strlen(name), value.at, value.length, &out);
    return taken_empty(&out);
}

postern_result postern_add_trailer(const char *name, postern_slice value) {
    name = postern_utf8(postern_text(name)).at;
    value = postern_utf8(value);
    struct result out;
    postern_ask_();
    call_add_trailer(name, strlen(name), value.at, value.length, &out);
    return taken_empty(&out);
}

postern_peer_info postern_peer(void) {
    struct peer_shape out;
    postern_ask_();
    call_peer(&out);
    postern_peer_info peer = {.transport = out.transport};
    taken_optional(&out.address, &peer.address);
    return peer;
}

bool postern_principal(postern_slice *name) {
    struct principal_shape out;
    postern_ask_();
    call_principal(&out);
    if (out.is_some)
        *name = out.name;
    return out.is_some;
}

bool postern_claim(const char *name, postern_slice *value) {
    name = postern_utf8(postern_text(name)).at;
    struct optional out;
    postern_ask_();
    call_claim(name, strlen(name), &out);
    return taken_optional(&out, value);
}

uint64_t postern_remaining_ms(void) {
    postern_ask_();
    return call_remaining_ms();
}

postern_slice postern_correlation_id(void) {
    postern_slice out;
    postern_ask_();
    call_correlation_id(&out);
    return out;
}

bool postern_traceparent(postern_slice *value) {
    struct optional out;
    postern_ask_();
    call_traceparent(&out);
    return taken_optional(&out, value);
}

postern_result postern_next(bool *more) {
    struct result out;
    is_next = true;
    call_next(&out);
    is_next = false;
    *more = !out.is_error && out.option.is_some;
    if (out.is_error)
        return taken(&out);
    return postern_ok(*more ? out.option.value : (postern_slice){0});
}

postern_result postern_send(postern_slice message) {
    struct result out;
    call_send(message.at, message.length, &out);
    return taken_empty(&out);
}

bool postern_log_enabled(postern_level level) {
    return log_enabled(level) != 0;
}

void postern_log_fields(postern_level level, postern_slice message, const postern_field *fields, size_t n_fields) {
    message = postern_utf8(message);
    log_write(level, message.at, message.length, postern_utf8_fields_(fields, n_fields).items, n_fields);
}

bool postern_config(const char *key, postern_slice *value) {
    key = postern_utf8(postern_text(key)).at;
    struct optional out;
    config_get(key, strlen(key), &out);
    return taken_optional(&out, value);
}

postern_result postern_kv_get(postern_slice key, bool *found) {
    key = postern_utf8(key);
    struct result out;
    kv_get(key.at, key.length, &out);
    *found = !out.is_error && out.option.is_some;
    if (out.is_error)
        return taken(&out);
    return postern_ok(*found ? out.option.value : (postern_slice){0});
}

postern_result postern_kv_set(postern_slice key, postern_slice value) {
    key = postern_utf8(key);
    struct result out;
    kv_set(key.at, key.length, value.at, value.length, &out);
    return taken_empty(&out);
}

postern_result postern_kv_delete(postern_slice key, bool *was) {
    key = postern_utf8(key);
    struct result out;
    kv_delete(key.at, key.length, &out);
    *was = !out.is_error && out.flag;
    return taken_empty(&out);
}

postern_result postern_kv_swap(postern_slice key, const postern_slice *expected, const postern_slice *value, bool *did) {
    key = postern_utf8(key);
    struct result out;
    postern_slice none = {0}, was = expected ? *expected : none, is = value ? *value : none;
    kv_swap(key.at, key.length, expected != NULL, was.at, was.length, value != NULL, is.at, is.length, &out);
    *did = !out.is_error && out.flag;
    return taken_empty(&out);
}

postern_result postern_kv_keys(postern_slice prefix, const postern_slice *after, uint32_t limit, const postern_slice **keys, size_t *n_keys) {
    prefix = postern_utf8(prefix);
    struct result out;
    postern_slice from = after ? postern_utf8(*after) : (postern_slice){0};
    kv_keys(prefix.at, prefix.length, after != NULL, from.at, from.length, limit, &out);
    *keys = out.is_error ? NULL : (const postern_slice *)(const void *)out.value.at;
    *n_keys = out.is_error ? 0 : out.value.length;
    return taken_empty(&out);
}

postern_result postern_call(postern_slice service, postern_slice method, postern_slice body, const postern_fields *headers, uint64_t timeout_ms) {
    service = postern_utf8(service);
    method = postern_utf8(method);
    struct result out;
    postern_fields with = headers ? postern_utf8_fields_(headers->items, headers->length) : (postern_fields){0};
    client_call(service.at, service.length, method.at, method.length, body.at, body.length, with.length > 0 || timeout_ms > 0,
                with.items, with.length, timeout_ms > 0, timeout_ms, &out);
    return taken(&out);
}

postern_result postern_publish(postern_slice topic, const char *content_type, postern_slice payload, uint32_t *n_subscribers) {
    topic = postern_utf8(topic);
    struct result out;
    postern_slice type = content_type ? postern_utf8(postern_text(content_type)) : (postern_slice){0};
    events_publish(topic.at, topic.length, content_type != NULL, type.at, type.length, payload.at, payload.length, &out);
    if (n_subscribers != NULL)
        *n_subscribers = out.is_error ? 0 : out.number;
    return taken_empty(&out);
}

#endif
