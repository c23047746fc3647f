/* Exported functions, and what balancers and interceptors import. See postern_component.c. */
#ifdef __wasm__
#include "postern_abi.h"

#include <string.h>

extern __attribute__((weak)) const postern_service *const postern_service_;

IMPORT("candidates", "usable") extern uint32_t candidates_usable(uint32_t index);
IMPORT("candidates", "random") extern uint64_t candidates_random(void);
IMPORT("request", "service") extern void request_service(postern_slice *out);
IMPORT("request", "method") extern void request_method(postern_slice *out);
IMPORT("request", "header") extern void request_header(const char *name, size_t length, struct optional *out);
IMPORT("request", "headers") extern void request_headers(postern_fields *out);
IMPORT("request", "set-header") extern void request_set_header(const char *name, size_t name_length, const char *value, size_t length, struct result *out);
IMPORT("request", "remove-header") extern void request_remove_header(const char *name, size_t length, struct result *out);
IMPORT("request", "payload") extern void request_payload(struct result *out);
IMPORT("request", "set-payload") extern void request_set_payload(const char *payload, size_t length, struct result *out);
IMPORT("response", "header") extern void response_header(const char *name, size_t length, struct optional *out);
IMPORT("response", "headers") extern void response_headers(postern_fields *out);
IMPORT("response", "set-header") extern void response_set_header(const char *name, size_t name_length, const char *value, size_t length, struct result *out);
IMPORT("response", "remove-header") extern void response_remove_header(const char *name, size_t length, struct result *out);
IMPORT("response", "payload") extern void response_payload(struct result *out);
IMPORT("response", "set-payload") extern void response_set_payload(const char *payload, size_t length, struct result *out);
IMPORT("response", "failed") extern void response_failed(struct result *out);
IMPORT("response", "elapsed-micros") extern uint64_t response_elapsed(void);
IMPORT("frame", "header") extern void frame_header(const char *name, size_t length, struct optional *out);
IMPORT("frame", "headers") extern void frame_headers(postern_fields *out);
IMPORT("frame", "set-header") extern void frame_set_header(const char *name, size_t name_length, const char *value, size_t length, struct result *out);
IMPORT("frame", "add-header") extern void frame_add_header(const char *name, size_t name_length, const char *value, size_t length, struct result *out);
IMPORT("frame", "remove-header") extern void frame_remove_header(const char *name, size_t length, struct result *out);
IMPORT("frame", "payload") extern void frame_payload(postern_slice *out);
IMPORT("frame", "set-payload") extern void frame_set_payload(const char *payload, size_t length, struct result *out);

static postern_slice slice(const char *at, size_t length) {
    return (postern_slice){at, length};
}

static void put(struct result *to, postern_result from) {
    *to = (struct result){.is_error = from.failed};
    if (!from.failed) {
        to->value = from.value;
        return;
    }
    to->failure.kind = (uint8_t)from.kind;
    to->failure.message = postern_utf8(from.value);
    to->failure.details = (struct optional){from.details.length > 0, postern_utf8(from.details)};
}

static void *give(postern_result from) {
    put(&postern_ret_.result, from);
    return postern_end_();
}

static postern_slice text_or_empty(const char *text) {
    return text ? postern_text(text) : (postern_slice){0};
}

void *postern_enter_services_(void) {
    postern_begin_();
    const postern_service *service = postern_service_;
    struct method_shape *methods = postern_alloc(service->n_methods * sizeof *methods);
    for (size_t i = 0; i < service->n_methods; i++) {
        const postern_method *method = &service->methods[i];
        methods[i] = (struct method_shape){
            .name = postern_text(method->name),
            .summary = text_or_empty(method->summary),
            .kind = (uint8_t)method->shape,
            .request = text_or_empty(method->request),
            .response = text_or_empty(method->response),
            .idempotent = method->idempotent,
        };
    }
    struct service_shape *shape = postern_alloc(sizeof *shape);
    *shape = (struct service_shape){
        .name = postern_text(service->name),
        .version = {service->version != NULL, text_or_empty(service->version)},
        .summary = text_or_empty(service->summary),
        .methods = {methods, service->n_methods},
    };
    postern_ret_.list = slice((const char *)shape, 1);
    return postern_end_();
}

static void add_schema(postern_field *pairs, size_t *n_pairs, const char *name, const char *schema) {
    if (name == NULL || schema == NULL)
        return;
    for (size_t i = 0; i < *n_pairs; i++)
        if (postern_equals(pairs[i].name, name))
            return;
    pairs[(*n_pairs)++] = (postern_field){postern_text(name), postern_text(schema)};
}

void *postern_enter_schemas_(void) {
    postern_begin_();
    const postern_service *service = postern_service_;
    postern_field *pairs = postern_alloc(2 * service->n_methods * sizeof *pairs);
    size_t n_pairs = 0;
    for (size_t i = 0; i < service->n_methods; i++) {
        const postern_method *method = &service->methods[i];
        add_schema(pairs, &n_pairs, method->request, method->request_schema);
        add_schema(pairs, &n_pairs, method->response, method->response_schema);
    }
    postern_ret_.list = slice((const char *)pairs, n_pairs);
    return postern_end_();
}

void *postern_enter_handle_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b)) {
    (void)s_at, (void)s_length;
    postern_begin_();
    return give(postern_serve_(postern_service_, slice(m_at, m_length), slice(b_at, b_length)));
}

void *postern_enter_handle_text_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b)) {
    (void)s_at, (void)s_length;
    postern_begin_();
    return give(postern_serve_text_(postern_service_, slice(m_at, m_length), slice(b_at, b_length)));
}

void *postern_enter_handle_batch_(postern_slice_args_(s), postern_slice_args_(m), postern_slice_args_(b), const uint32_t *lengths, size_t n_lengths) {
    (void)s_at, (void)s_length, (void)b_length;
    postern_begin_();
    struct result *results = postern_alloc(n_lengths * sizeof *results);
    for (size_t i = 0; i < n_lengths; i++) {
        postern_pending_turn_ = (int64_t)i;
        put(&results[i], postern_serve_(postern_service_, slice(m_at, m_length), slice(b_at, lengths[i])));
        b_at += lengths[i];
    }
    postern_ret_.list = slice((const char *)results, n_lengths);
    return postern_end_();
}

void *postern_enter_handle_stream_(postern_slice_args_(s), postern_slice_args_(m)) {
    (void)s_at, (void)s_length;
    postern_begin_();
    return give(postern_serve_stream_(postern_service_, slice(m_at, m_length)));
}

void *postern_enter_on_event_(postern_on_event *on_event, postern_slice_args_(t), uint32_t is_typed, postern_slice_args_(c), postern_slice_args_(p)) {
    postern_begin_();
    postern_slice type = is_typed ? slice(c_at, c_length) : (postern_slice){0};
    return give(on_event(slice(t_at, t_length), type, slice(p_at, p_length)));
}

void *postern_enter_on_request_(postern_on_request *on_request) {
    postern_begin_();
    postern_action action = POSTERN_PROCEED;
    postern_result result = on_request(&action);
    put(&postern_ret_.result, result);
    if (!result.failed)
        postern_ret_.result.number = action;
    return postern_end_();
}

void *postern_enter_on_response_(postern_on_response *on_response) {
    postern_begin_();
    return give(on_response());
}

void *postern_enter_authenticate_(postern_authenticate *authenticate, postern_slice_args_(s), postern_slice_args_(t)) {
    postern_begin_();
    postern_identity identity = {0};
    bool is_known = false;
    postern_result result = authenticate(slice(s_at, s_length), slice(t_at, t_length), &is_known, &identity);
    struct authenticated *to = &postern_ret_.authenticated;
    *to = (struct authenticated){.is_error = result.failed};
    if (result.failed) {
        struct result failed;
        put(&failed, result);
        to->failure = failed.failure;
    } else if (is_known) {
        to->identity.is_some = true;
        postern_slice *roles = postern_alloc(identity.n_roles * sizeof *roles);
        for (size_t i = 0; i < identity.n_roles; i++)
            roles[i] = postern_utf8(identity.roles[i]);
        to->identity.value = (struct identity_shape){
            .name = postern_utf8(identity.name),
            .roles = {roles, identity.n_roles},
            .claims = postern_utf8_fields_(identity.claims.items, identity.claims.length),
            .valid_ms = {identity.valid_ms > 0, identity.valid_ms},
        };
    }
    return postern_end_();
}

void *postern_enter_authorize_(postern_authorize *authorize, postern_slice_args_(s), postern_slice_args_(m)) {
    postern_begin_();
    return give(authorize(slice(s_at, s_length), slice(m_at, m_length)));
}

bool postern_enter_should_handle_(postern_should_handle *should, uint32_t kind, uint32_t direction, uint32_t flags, uint32_t headers, uint32_t payload) {
    postern_begin_();
    bool answer = should((postern_frame_head){(postern_frame_kind)kind, direction != 0, (uint8_t)flags, headers, payload});
    postern_end_();
    return answer;
}

void *postern_enter_handle_frame_(postern_handle_frame *handle) {
    postern_begin_();
    bool drop = false;
    postern_result result = handle(&drop);
    put(&postern_ret_.result, result);
    if (!result.failed)
        postern_ret_.result.number = drop;
    return postern_end_();
}

void postern_enter_update_(postern_update *update, const void *instances, size_t length) {
    postern_begin_();
    const struct instance_shape *shapes = instances;
    postern_instance *told = postern_alloc(length * sizeof *told);
    for (size_t i = 0; i < length; i++) {
        told[i] = (postern_instance){.id = shapes[i].id, .weight = shapes[i].weight, .metadata = shapes[i].metadata};
        taken_optional(&shapes[i].zone, &told[i].zone);
        taken_optional(&shapes[i].version, &told[i].version);
    }
    update(told, length);
    postern_end_();
}

void *postern_enter_pick_(postern_pick *pick, uint64_t key) {
    postern_begin_();
    int64_t index = pick(key);
    postern_ret_.picked.is_some = index >= 0;
    postern_ret_.picked.index = index >= 0 ? (uint32_t)index : 0;
    return postern_end_();
}

void postern_enter_done_(postern_on_done *done, uint32_t index, uint32_t outcome, uint64_t micros) {
    if (done == NULL)
        return;
    postern_begin_();
    done(index, (postern_outcome)outcome, micros);
    postern_end_();
}

void *postern_enter_check_(postern_check *check) {
    postern_begin_();
    postern_slice why = {0};
    postern_ret_.report.status = (uint8_t)check(&why);
    postern_ret_.report.why = (struct optional){why.length > 0, postern_utf8(why)};
    return postern_end_();
}

bool postern_usable(uint32_t index) {
    return candidates_usable(index) != 0;
}

uint64_t postern_random(void) {
    return candidates_random();
}

/* How requests, responses and frames are asked and changed. What a plugin does not call is not imported. */
typedef void ask_slice(postern_slice *out);
typedef void ask_fields(postern_fields *out);
typedef void ask_octets(struct result *out);
typedef void ask_text(const char *name, size_t length, struct optional *out);
typedef void give_name(const char *name, size_t length, struct result *out);
typedef void give_field(const char *name, size_t name_length, const char *value, size_t length, struct result *out);

static inline postern_slice asked_slice(ask_slice *ask) {
    postern_slice out;
    ask(&out);
    return out;
}

static inline postern_fields asked_fields(ask_fields *ask) {
    postern_fields out;
    ask(&out);
    return out;
}

static inline postern_result asked_octets(ask_octets *ask) {
    struct result out;
    ask(&out);
    return taken(&out);
}

static inline bool asked_text(ask_text *ask, const char *name, postern_slice *value) {
    name = postern_utf8(postern_text(name)).at;
    struct optional out;
    ask(name, strlen(name), &out);
    return taken_optional(&out, value);
}

static inline postern_result given_name(give_name *give_it, const char *name) {
    name = postern_utf8(postern_text(name)).at;
    struct result out;
    give_it(name, strlen(name), &out);
    return taken_empty(&out);
}

static inline postern_result given_field(give_field *give_it, const char *name, postern_slice value) {
    name = postern_utf8(postern_text(name)).at;
    value = postern_utf8(value);
    struct result out;
    give_it(name, strlen(name), value.at, value.length, &out);
    return taken_empty(&out);
}

static inline postern_result given_octets(give_name *give_it, postern_slice octets) {
    struct result out;
    give_it(octets.at, octets.length, &out);
    return taken_empty(&out);
}

postern_slice postern_request_service(void) { return asked_slice(request_service); }
postern_slice postern_request_method(void) { return asked_slice(request_method); }
bool postern_request_header(const char *name, postern_slice *value) { return asked_text(request_header, name, value); }
postern_fields postern_request_headers(void) { return asked_fields(request_headers); }
postern_result postern_request_set_header(const char *name, postern_slice value) { return given_field(request_set_header, name, value); }
postern_result postern_request_remove_header(const char *name) { return given_name(request_remove_header, name); }
postern_result postern_request_payload(void) { return asked_octets(request_payload); }
postern_result postern_request_set_payload(postern_slice payload) { return given_octets(request_set_payload, payload); }

bool postern_response_header(const char *name, postern_slice *value) { return asked_text(response_header, name, value); }
postern_fields postern_response_headers(void) { return asked_fields(response_headers); }
postern_result postern_response_set_header(const char *name, postern_slice value) { return given_field(response_set_header, name, value); }
postern_result postern_response_remove_header(const char *name) { return given_name(response_remove_header, name); }
postern_result postern_response_payload(void) { return asked_octets(response_payload); }
postern_result postern_response_set_payload(postern_slice payload) { return given_octets(response_set_payload, payload); }
uint64_t postern_response_elapsed_micros(void) { return response_elapsed(); }

bool postern_response_failed(postern_result *failure) {
    struct result out;
    response_failed(&out);
    if (out.is_error)
        *failure = taken(&out);
    return out.is_error;
}

bool postern_frame_header(const char *name, postern_slice *value) { return asked_text(frame_header, name, value); }
postern_fields postern_frame_headers(void) { return asked_fields(frame_headers); }
postern_result postern_frame_set_header(const char *name, postern_slice value) { return given_field(frame_set_header, name, value); }
postern_result postern_frame_add_header(const char *name, postern_slice value) { return given_field(frame_add_header, name, value); }
postern_result postern_frame_remove_header(const char *name) { return given_name(frame_remove_header, name); }
postern_slice postern_frame_payload(void) { return asked_slice(frame_payload); }
postern_result postern_frame_set_payload(postern_slice payload) { return given_octets(frame_set_payload, payload); }
#endif
