/* See postern_fake.h. What the gateway knows, and postern.h over it. */
#ifndef __wasm__
#include "postern_fake_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct postern_fake_state fake;

/* All copies, so that they can be freed. */
static struct copy {
    struct copy *before;
    char at[];
} *copies;
static int n_failed;

/* The roles that the plugin has define these themselves. */
#define ABSENT(type, name) \
    __attribute__((weak)) type *name(void) { return NULL; }
const postern_service *postern_native_service_(void);
__attribute__((weak)) const postern_service *postern_native_service_(void) { return NULL; }
bool postern_native_is_text_(void);
__attribute__((weak)) bool postern_native_is_text_(void) { return false; }
ABSENT(postern_on_event, postern_native_on_event_)
ABSENT(postern_on_request, postern_native_on_request_)
ABSENT(postern_on_response, postern_native_on_response_)
ABSENT(postern_authenticate, postern_native_authenticate_)
ABSENT(postern_authorize, postern_native_authorize_)
ABSENT(postern_should_handle, postern_native_should_handle_)
ABSENT(postern_handle_frame, postern_native_handle_frame_)
ABSENT(postern_update, postern_native_update_)
ABSENT(postern_pick, postern_native_pick_)
ABSENT(postern_on_done, postern_native_done_)
ABSENT(postern_check, postern_native_check_)

postern_slice postern_fake_keep_(postern_slice slice) {
    struct copy *copy = malloc(sizeof *copy + slice.length + 1);
    if (copy == NULL)
        abort();
    copy->before = copies;
    copies = copy;
    if (slice.length > 0)
        memcpy(copy->at, slice.at, slice.length);
    copy->at[slice.length] = 0;
    return (postern_slice){copy->at, slice.length};
}

static postern_slice keep_text(const char *text) {
    return text == NULL ? (postern_slice){0} : postern_fake_keep_(postern_text(text));
}

void postern_fake_add_(struct table *table, postern_slice name, postern_slice value) {
    if (table->length == ENTRIES_MAX) {
        fprintf(stderr, "postern_fake: a table has %d entries at most\n", ENTRIES_MAX);
        abort();
    }
    table->entries[table->length++] = (struct entry){postern_fake_keep_(name), postern_fake_keep_(value)};
}

static bool same_name(postern_slice one, postern_slice other) {
    return one.length == other.length && strncasecmp(one.at, other.at, one.length) == 0;
}

/* The first, or NULL. */
static struct entry *look_up(struct table *table, postern_slice name, bool any_case) {
    for (size_t i = 0; i < table->length; i++) {
        struct entry *entry = &table->entries[i];
        if (any_case ? same_name(entry->name, name) : postern_same(entry->name, name))
            return entry;
    }
    return NULL;
}

void postern_fake_remove_(struct table *table, postern_slice name, bool any_case) {
    struct entry *entry;
    while ((entry = look_up(table, name, any_case)) != NULL) {
        size_t behind = (size_t)(&table->entries[table->length] - entry) - 1;
        memmove(entry, entry + 1, behind * sizeof *entry);
        table->length--;
    }
}

void postern_fake_set_(struct table *table, postern_slice name, postern_slice value, bool any_case) {
    postern_fake_remove_(table, name, any_case);
    postern_fake_add_(table, name, value);
}

bool postern_fake_get_(struct table *table, const char *name, bool any_case, postern_slice *value) {
    struct entry *entry = look_up(table, postern_text(name), any_case);
    if (entry != NULL)
        *value = entry->value;
    return entry != NULL;
}

static postern_slice get_or_empty(struct table *table, const char *name) {
    postern_slice value = {0};
    postern_fake_get_(table, name, true, &value);
    return value;
}

postern_fields postern_fake_all_(const struct table *table) {
    postern_field *fields = postern_alloc(table->length * sizeof *fields);
    for (size_t i = 0; i < table->length; i++)
        fields[i] = (postern_field){table->entries[i].name, table->entries[i].value};
    return (postern_fields){fields, table->length};
}

void postern_fake_begin(void) {
    while (copies != NULL) {
        struct copy *before = copies->before;
        free(copies);
        copies = before;
    }
    postern_arena_reset_();
    memset(&fake, 0, sizeof fake);
    fake.remaining_ms = 30000;
    fake.leave_after = SIZE_MAX;
}

int postern_fake_failed(void) {
    return n_failed > 0;
}

void postern_fake_config(const char *key, const char *value) { postern_fake_set_(&fake.config, postern_text(key), postern_text(value), false); }
void postern_fake_header(const char *name, const char *value) { postern_fake_add_(&fake.request_headers, postern_text(name), postern_text(value)); }
void postern_fake_trailer(const char *name, const char *value) { postern_fake_add_(&fake.request_trailers, postern_text(name), postern_text(value)); }
void postern_fake_principal(const char *name) { fake.principal = keep_text(name); }
void postern_fake_claim(const char *name, const char *value) { postern_fake_set_(&fake.claims, postern_text(name), postern_text(value), false); }
void postern_fake_remaining_ms(uint64_t remaining) { fake.remaining_ms = remaining; }
void postern_fake_log_level(postern_level level) { fake.log_level = level; }
void postern_fake_kv_set(const char *key, const char *value) { postern_fake_set_(&fake.kv, postern_text(key), postern_text(value), false); }
void postern_fake_fail_kv(postern_kind kind, const char *message) { fake.kv_failure = (postern_result){true, kind, keep_text(message), {0}}; }
void postern_fake_leave_after(size_t n_messages) { fake.leave_after = n_messages; }
void postern_fake_random(uint64_t from) { fake.random = from; }

void postern_fake_http(postern_http_info info) {
    fake.http = info;
    fake.is_http = true;
}

void postern_fake_usable(uint32_t index, bool is_usable) {
    if (index < ENTRIES_MAX)
        fake.is_unusable[index] = !is_usable;
}

void postern_fake_answer(const char *service, const char *method, const char *reply) {
    fake.answer_failures[fake.answers.length] = (postern_result){0};
    postern_fake_add_(&fake.answers, postern_format("%s/%s", service, method), postern_text(reply));
}

void postern_fake_answer_failure(const char *service, const char *method, postern_kind kind, const char *message) {
    fake.answer_failures[fake.answers.length] = (postern_result){true, kind, keep_text(message), {0}};
    postern_fake_add_(&fake.answers, postern_format("%s/%s", service, method), postern_text(""));
}

void postern_fake_topic(const char *topic, uint32_t n_subscribers) {
    postern_fake_add_(&fake.topics, postern_text(topic), (postern_slice){(const char *)&n_subscribers, sizeof n_subscribers});
}

const char *postern_fake_kv(const char *key) {
    postern_slice value;
    return postern_fake_get_(&fake.kv, key, false, &value) ? value.at : NULL;
}

/* What a call gives is kept, so that the arena can be emptied as it is between calls. */
static postern_result kept(postern_result result) {
    result.value = postern_fake_keep_(result.failed ? postern_utf8(result.value) : result.value);
    if (result.details.length > 0)
        result.details = postern_fake_keep_(postern_utf8(result.details));
    postern_arena_reset_();
    return result;
}

static void new_reply(void) {
    fake.reply_headers.length = fake.reply_trailers.length = fake.sent.length = 0;
    fake.status = 0;
    fake.is_octets = false;
}

static postern_result no_role(const char *role) {
    return postern_fail(POSTERN_UNIMPLEMENTED, "the plugin has no role `%s`", role);
}

postern_result postern_fake_call_octets(const char *method, postern_slice message) {
    new_reply();
    if (postern_native_service_() == NULL)
        return kept(no_role("handler"));
    postern_result (*serve)(const postern_service *, postern_slice, postern_slice) =
        postern_native_is_text_() ? postern_serve_text_ : postern_serve_;
    return kept(serve(postern_native_service_(), postern_text(method), postern_fake_keep_(message)));
}

postern_result postern_fake_call(const char *method, const char *message) {
    return postern_fake_call_octets(method, postern_text(message));
}

postern_result postern_fake_stream(const char *method, const char *const *messages) {
    new_reply();
    fake.incoming.length = 0;
    for (; *messages != NULL; messages++)
        postern_fake_add_(&fake.incoming, postern_text(""), postern_text(*messages));
    if (postern_native_service_() == NULL)
        return kept(no_role("stream-handler"));
    return kept(postern_serve_stream_(postern_native_service_(), postern_text(method)));
}

postern_result postern_fake_event(const char *topic, const char *content_type, const char *payload) {
    new_reply();
    if (postern_native_on_event_() == NULL)
        return kept(no_role("event-handler"));
    return kept(postern_native_on_event_()(postern_text(topic), keep_text(content_type), postern_text(payload)));
}

postern_result postern_fake_authenticate(const char *scheme, const char *token, bool *known, postern_identity *identity) {
    *known = false;
    *identity = (postern_identity){0};
    if (postern_native_authenticate_() == NULL)
        return kept(no_role("authenticator"));
    return postern_native_authenticate_()(postern_text(scheme), postern_text(token), known, identity);
}

postern_result postern_fake_authorize(const char *service, const char *method) {
    if (postern_native_authorize_() == NULL)
        return kept(no_role("authorizer"));
    return kept(postern_native_authorize_()(postern_text(service), postern_text(method)));
}

bool postern_fake_frame(postern_frame_head head, const char *payload, bool *drop, postern_result *result) {
    head.payload_bytes = (uint32_t)strlen(payload);
    fake.frame = fake.request_headers;
    fake.frame_payload = keep_text(payload);
    *drop = false;
    if (postern_native_should_handle_() == NULL || !postern_native_should_handle_()(head))
        return false;
    *result = kept(postern_native_handle_frame_()(drop));
    return true;
}

void postern_fake_update(const postern_instance *instances, size_t n_instances) {
    if (postern_native_update_() != NULL)
        postern_native_update_()(instances, n_instances);
    postern_arena_reset_();
}

int64_t postern_fake_pick(uint64_t key) {
    int64_t index = postern_native_pick_() == NULL ? -1 : postern_native_pick_()(key);
    postern_arena_reset_();
    return index;
}

void postern_fake_done(uint32_t index, postern_outcome outcome, uint64_t micros) {
    if (postern_native_done_() != NULL)
        postern_native_done_()(index, outcome, micros);
    postern_arena_reset_();
}

postern_status postern_fake_check(postern_slice *why) {
    return postern_native_check_() == NULL ? POSTERN_SERVING : postern_native_check_()(why);
}

void postern_fake_request(const char *service, const char *method, const char *payload) {
    fake.service = keep_text(service);
    fake.method = keep_text(method);
    fake.request_payload = keep_text(payload);
    fake.exchange_request = fake.request_headers;
    fake.exchange_response.length = 0;
    fake.response = (postern_result){0};
    fake.is_response = false;
}

postern_result postern_fake_on_request(postern_action *action) {
    *action = POSTERN_PROCEED;
    if (postern_native_on_request_() == NULL)
        return kept(no_role("request-interceptor"));
    return kept(postern_native_on_request_()(action));
}

postern_result postern_fake_on_response(postern_result outcome, uint64_t micros) {
    fake.response = kept(outcome);
    fake.elapsed_micros = micros;
    fake.is_response = true;
    if (postern_native_on_response_() == NULL)
        return kept(no_role("response-interceptor"));
    return kept(postern_native_on_response_()());
}

uint16_t postern_fake_reply_status(void) { return fake.status == 0 ? 200 : fake.status; }
bool postern_fake_replies_octets(void) { return fake.is_octets; }
postern_slice postern_fake_reply_header(const char *name) { return get_or_empty(&fake.reply_headers, name); }
postern_slice postern_fake_reply_trailer(const char *name) { return get_or_empty(&fake.reply_trailers, name); }
size_t postern_fake_n_sent(void) { return fake.sent.length; }
postern_slice postern_fake_published(const char *topic) { return get_or_empty(&fake.published, topic); }
postern_slice postern_fake_request_header(const char *name) { return get_or_empty(&fake.exchange_request, name); }
postern_slice postern_fake_frame_header(const char *name) { return get_or_empty(&fake.frame, name); }
postern_slice postern_fake_frame_payload(void) { return fake.frame_payload; }
postern_slice postern_fake_request_payload(void) { return fake.request_payload; }
postern_slice postern_fake_response_header(const char *name) { return get_or_empty(&fake.exchange_response, name); }
postern_result postern_fake_response(void) { return fake.response; }

postern_slice postern_fake_sent(size_t index) {
    return index < fake.sent.length ? fake.sent.entries[index].value : (postern_slice){0};
}

postern_slice postern_fake_called(const char *service, const char *method) {
    return get_or_empty(&fake.called, postern_format("%s/%s", service, method).at);
}

size_t postern_fake_n_logged(const char *text) {
    size_t n = 0;
    for (size_t i = 0; i < fake.log.length; i++)
        n += strstr(fake.log.entries[i].value.at, text) != NULL;
    return n;
}

void postern_fake_check_(bool holds, const char *file, int line, const char *function, const char *claim) {
    if (holds)
        return;
    printf("%s:%d: %s: %s\n", file, line, function, claim);
    n_failed++;
}

void postern_fake_check_text_(postern_result result, const char *text, const char *file, int line, const char *function, const char *claim) {
    if (!result.failed && postern_equals(result.value, text))
        return;
    printf("%s:%d: %s: %s gives %s`%.*s`, expected `%s`\n", file, line, function, claim,
           result.failed ? postern_kind_name(result.kind) : "", (int)result.value.length, result.value.at, text);
    n_failed++;
}

void postern_fake_check_fails_(postern_result result, postern_kind kind, const char *file, int line, const char *function, const char *claim) {
    if (result.failed && result.kind == kind)
        return;
    printf("%s:%d: %s: %s gives %s`%.*s`, expected %s\n", file, line, function, claim,
           result.failed ? postern_kind_name(result.kind) : "", (int)result.value.length, result.value.at, postern_kind_name(kind));
    n_failed++;
}
#endif
