/* postern.h over the fake host of postern_fake.h. */
#ifndef __wasm__
#include "postern_fake_state.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

bool postern_header(const char *name, postern_slice *value) { return postern_fake_get_(&fake.request_headers, name, true, value); }
postern_fields postern_headers(void) { return postern_fake_all_(&fake.request_headers); }
postern_fields postern_trailers(void) { return postern_fake_all_(&fake.request_trailers); }
postern_body_kind postern_request_kind(void) { return POSTERN_MESSAGE; }
bool postern_claim(const char *name, postern_slice *value) { return postern_fake_get_(&fake.claims, name, false, value); }
uint64_t postern_remaining_ms(void) { return fake.remaining_ms; }
postern_slice postern_correlation_id(void) { return postern_text("test"); }
postern_peer_info postern_peer(void) { return (postern_peer_info){postern_text("memory"), {0}}; }

bool postern_http(postern_http_info *info) {
    if (fake.is_http)
        *info = fake.http;
    return fake.is_http;
}

bool postern_principal(postern_slice *name) {
    if (fake.principal.at != NULL)
        *name = fake.principal;
    return fake.principal.at != NULL;
}

bool postern_traceparent(postern_slice *value) {
    (void)value;
    return false;
}

static bool is_begun(void) {
    return fake.sent.length > 0;
}

postern_result postern_set_status(uint16_t status) {
    if (status < 200 || status > 599)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "status %d is not 200 to 599", status);
    if (is_begun())
        return postern_fail(POSTERN_FAILED_PRECONDITION, "status after the first message");
    fake.status = status;
    return postern_done();
}

postern_result postern_set_octets(void) {
    if (is_begun())
        return postern_fail(POSTERN_FAILED_PRECONDITION, "octets after the first message");
    fake.is_octets = true;
    return postern_done();
}

/* Whether a header fits beside those of the table, without those of its name where it takes their place. */
static postern_result check_field(const struct table *table, const char *name, postern_slice value, bool in_place) {
    size_t length = strlen(name), sum = length + value.length;
    if (length < 1 || length > HEADER_NAME_BYTES_MAX)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "header name of %zu octets is not 1 to %d", length, HEADER_NAME_BYTES_MAX);
    for (size_t i = 0; i < table->length; i++) {
        const struct entry *entry = &table->entries[i];
        bool is_replaced = in_place && entry->name.length == length && strncasecmp(entry->name.at, name, length) == 0;
        sum += is_replaced ? 0 : entry->name.length + entry->value.length;
    }
    if (sum > HEADERS_BYTES_MAX)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "headers of %zu octets exceed the limit of %d", sum, HEADERS_BYTES_MAX);
    return postern_done();
}

/* Both make UTF-8 of what they are given, as the real ones do. */
static postern_result add_field(struct table *table, const char *name, postern_slice value) {
    name = postern_utf8(postern_text(name)).at;
    value = postern_utf8(value);
    postern_result checked = check_field(table, name, value, false);
    if (!checked.failed)
        postern_fake_add_(table, postern_text(name), value);
    return checked;
}

static postern_result set_field(struct table *table, const char *name, postern_slice value) {
    name = postern_utf8(postern_text(name)).at;
    value = postern_utf8(value);
    postern_result checked = check_field(table, name, value, true);
    if (!checked.failed)
        postern_fake_set_(table, postern_text(name), value, true);
    return checked;
}

static void remove_field(struct table *table, const char *name) {
    postern_fake_remove_(table, postern_utf8(postern_text(name)), true);
}

postern_result postern_add_header(const char *name, postern_slice value) {
    if (is_begun())
        return postern_fail(POSTERN_FAILED_PRECONDITION, "header after the first message");
    return add_field(&fake.reply_headers, name, value);
}

postern_result postern_add_trailer(const char *name, postern_slice value) { return add_field(&fake.reply_trailers, name, value); }

static postern_result check_left(void) {
    if (fake.sent.length >= fake.leave_after)
        return postern_fail(POSTERN_CANCELLED, "the caller has left");
    return postern_done();
}

postern_result postern_next(bool *more) {
    *more = fake.incoming.length > 0;
    if (!*more)
        return check_left();
    postern_slice message = fake.incoming.entries[0].value;
    fake.incoming.length--;
    memmove(fake.incoming.entries, fake.incoming.entries + 1, fake.incoming.length * sizeof *fake.incoming.entries);
    return postern_ok(message);
}

postern_result postern_send(postern_slice message) {
    postern_result left = check_left();
    if (left.failed)
        return left;
    postern_fake_add_(&fake.sent, postern_text(""), message);
    return postern_done();
}

bool postern_log_enabled(postern_level level) { return level >= fake.log_level; }

void postern_log_fields(postern_level level, postern_slice message, const postern_field *fields, size_t n_fields) {
    if (!postern_log_enabled(level))
        return;
    postern_slice line = postern_copy(postern_utf8(message));
    fields = postern_utf8_fields_(fields, n_fields).items;
    for (size_t i = 0; i < n_fields; i++)
        line = postern_format("%s %.*s=%.*s", line.at, (int)fields[i].name.length, fields[i].name.at,
                              (int)fields[i].value.length, fields[i].value.at);
    postern_fake_add_(&fake.log, postern_text(""), line);
}

bool postern_config(const char *key, postern_slice *value) { return postern_fake_get_(&fake.config, key, false, value); }

static postern_result check_key(postern_slice key) {
    if (key.length < 1 || key.length > KV_KEY_BYTES_MAX)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "key of %zu octets is not 1 to %d", key.length, KV_KEY_BYTES_MAX);
    return fake.kv_failure;
}

static bool stored(postern_slice key, postern_slice *value) {
    return postern_fake_get_(&fake.kv, postern_copy(key).at, false, value);
}

postern_result postern_kv_get(postern_slice key, bool *found) {
    key = postern_utf8(key);
    postern_slice value = {0};
    postern_result checked = check_key(key);
    *found = !checked.failed && stored(key, &value);
    return checked.failed ? checked : postern_ok(value);
}

postern_result postern_kv_set(postern_slice key, postern_slice value) {
    key = postern_utf8(key);
    postern_result checked = check_key(key);
    if (checked.failed)
        return checked;
    if (value.length > KV_VALUE_BYTES_MAX)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "value of %zu octets exceeds the limit of %d", value.length, KV_VALUE_BYTES_MAX);
    postern_fake_set_(&fake.kv, key, value, false);
    return postern_done();
}

postern_result postern_kv_delete(postern_slice key, bool *was) {
    key = postern_utf8(key);
    postern_slice value;
    postern_result checked = check_key(key);
    *was = !checked.failed && stored(key, &value);
    if (*was)
        postern_fake_remove_(&fake.kv, key, false);
    return checked;
}

postern_result postern_kv_swap(postern_slice key, const postern_slice *expected, const postern_slice *value, bool *did) {
    key = postern_utf8(key);
    postern_slice old;
    bool was;
    postern_result checked = check_key(key);
    *did = false;
    if (checked.failed)
        return checked;
    if (stored(key, &old) ? expected == NULL || !postern_same(old, *expected) : expected != NULL)
        return postern_done();
    postern_result done = value == NULL ? postern_kv_delete(key, &was) : postern_kv_set(key, *value);
    *did = !done.failed;
    return done;
}

static int compare(const void *one, const void *other) {
    return strcmp(((const postern_slice *)one)->at, ((const postern_slice *)other)->at);
}

postern_result postern_kv_keys(postern_slice prefix, const postern_slice *after, uint32_t limit, const postern_slice **keys, size_t *n_keys) {
    prefix = postern_utf8(prefix);
    postern_slice *found = postern_alloc(ENTRIES_MAX * sizeof *found);
    size_t n = 0, n_max = limit < KV_KEYS_MAX ? limit : KV_KEYS_MAX;
    for (size_t i = 0; i < fake.kv.length; i++) {
        postern_slice key = fake.kv.entries[i].name;
        bool has_prefix = key.length >= prefix.length && memcmp(key.at, prefix.at, prefix.length) == 0;
        if (has_prefix && (after == NULL || strcmp(key.at, postern_copy(postern_utf8(*after)).at) > 0))
            found[n++] = key;
    }
    qsort(found, n, sizeof *found, compare);
    *keys = found;
    *n_keys = n < n_max ? n : n_max;
    return fake.kv_failure;
}

postern_result postern_call(postern_slice service, postern_slice method, postern_slice body, const postern_fields *headers, uint64_t timeout_ms) {
    service = postern_utf8(service);
    method = postern_utf8(method);
    (void)headers, (void)timeout_ms;
    postern_slice name = postern_format("%.*s/%.*s", (int)service.length, service.at, (int)method.length, method.at);
    for (size_t i = 0; i < fake.answers.length; i++) {
        if (!postern_same(fake.answers.entries[i].name, name))
            continue;
        postern_fake_set_(&fake.called, name, body, true);
        return fake.answer_failures[i].failed ? fake.answer_failures[i] : postern_ok(fake.answers.entries[i].value);
    }
    return postern_fail(POSTERN_PERMISSION_DENIED, "service `%.*s` is not granted", (int)service.length, service.at);
}

postern_result postern_publish(postern_slice topic, const char *content_type, postern_slice payload, uint32_t *n_subscribers) {
    topic = postern_utf8(topic);
    (void)content_type;
    postern_slice value;
    if (!postern_fake_get_(&fake.topics, postern_copy(topic).at, false, &value))
        return postern_fail(POSTERN_PERMISSION_DENIED, "topic `%.*s` is not granted", (int)topic.length, topic.at);
    if (n_subscribers != NULL)
        memcpy(n_subscribers, value.at, sizeof *n_subscribers);
    postern_fake_set_(&fake.published, topic, payload, true);
    return postern_done();
}

bool postern_usable(uint32_t index) { return index >= ENTRIES_MAX || !fake.is_unusable[index]; }
uint64_t postern_random(void) { return fake.random++; }

postern_slice postern_request_service(void) { return fake.service; }
postern_slice postern_request_method(void) { return fake.method; }
bool postern_request_header(const char *name, postern_slice *value) { return postern_fake_get_(&fake.exchange_request, name, true, value); }
postern_fields postern_request_headers(void) { return postern_fake_all_(&fake.exchange_request); }

static postern_result check_open(void) {
    if (fake.is_response)
        return postern_fail(POSTERN_FAILED_PRECONDITION, "the request is answered and cannot be changed");
    return postern_done();
}

postern_result postern_request_set_header(const char *name, postern_slice value) {
    postern_result checked = check_open();
    return checked.failed ? checked : set_field(&fake.exchange_request, name, value);
}

postern_result postern_request_remove_header(const char *name) {
    postern_result checked = check_open();
    if (!checked.failed)
        remove_field(&fake.exchange_request, name);
    return checked;
}

postern_result postern_request_payload(void) {
    postern_result open = check_open();
    return open.failed ? open : postern_ok(fake.request_payload);
}

postern_result postern_request_set_payload(postern_slice payload) {
    postern_result open = check_open();
    if (!open.failed)
        fake.request_payload = postern_fake_keep_(payload);
    return open;
}

bool postern_response_failed(postern_result *failure) {
    if (fake.response.failed)
        *failure = fake.response;
    return fake.response.failed;
}

uint64_t postern_response_elapsed_micros(void) { return fake.elapsed_micros; }
bool postern_response_header(const char *name, postern_slice *value) { return postern_fake_get_(&fake.exchange_response, name, true, value); }
postern_fields postern_response_headers(void) { return postern_fake_all_(&fake.exchange_response); }

static postern_result check_answered(void) {
    if (fake.response.failed)
        return postern_fail(POSTERN_FAILED_PRECONDITION, "a failure has no headers and no octets");
    return postern_done();
}

postern_result postern_response_set_header(const char *name, postern_slice value) {
    postern_result checked = check_answered();
    return checked.failed ? checked : set_field(&fake.exchange_response, name, value);
}

postern_result postern_response_remove_header(const char *name) {
    postern_result checked = check_answered();
    if (!checked.failed)
        remove_field(&fake.exchange_response, name);
    return checked;
}

postern_result postern_response_payload(void) {
    postern_result answered = check_answered();
    return answered.failed ? answered : postern_ok(fake.response.value);
}

postern_result postern_response_set_payload(postern_slice payload) {
    fake.response = postern_ok(postern_fake_keep_(payload));
    return postern_done();
}

bool postern_frame_header(const char *name, postern_slice *value) { return postern_fake_get_(&fake.frame, name, true, value); }
postern_fields postern_frame_headers(void) { return postern_fake_all_(&fake.frame); }
postern_slice postern_frame_payload(void) { return fake.frame_payload; }

postern_result postern_frame_set_header(const char *name, postern_slice value) { return set_field(&fake.frame, name, value); }
postern_result postern_frame_add_header(const char *name, postern_slice value) { return add_field(&fake.frame, name, value); }

postern_result postern_frame_remove_header(const char *name) {
    remove_field(&fake.frame, name);
    return postern_done();
}

postern_result postern_frame_set_payload(postern_slice payload) {
    if (payload.length > OUTPUT_BYTES_MAX)
        return postern_fail(POSTERN_RESOURCE_EXHAUSTED, "payload of %zu octets exceeds the limit of %d", payload.length, OUTPUT_BYTES_MAX);
    fake.frame_payload = postern_fake_keep_(payload);
    return postern_done();
}
#endif
