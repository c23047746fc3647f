/* A plugin of every role, for sdk.c. */
#include "postern.h"

static postern_result put(postern_slice method, postern_slice body) {
    (void)method;
    postern_slice json_key, key, value;
    if (!postern_json_get(body, "key", &json_key) || !postern_json_string(json_key, &key))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`key` is missing or no string");
    if (!postern_json_get(body, "value", &value))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`value` is missing");
    postern_result added = postern_add_header("x-key", key);
    if (added.failed)
        return added;
    postern_log(POSTERN_INFO, "put %.*s", (int)key.length, key.at);
    return postern_kv_set(key, value);
}

static postern_result find(postern_slice method, postern_slice body) {
    (void)method;
    bool found;
    postern_result value = postern_kv_get(body, &found);
    if (value.failed || found)
        return value;
    return postern_with_details(postern_fail(POSTERN_NOT_FOUND, "no value `%.*s`", (int)body.length, body.at), postern_text("{\"a\":1}"));
}

static postern_result relay(postern_slice method, postern_slice body) {
    (void)method;
    return postern_call(postern_text("other"), postern_text("Do"), body, NULL, 100);
}

/* All text that goes out is what it was given. */
static postern_result tell(postern_slice method, postern_slice body) {
    (void)method;
    postern_field field = {body, body};
    postern_log_fields(POSTERN_INFO, body, &field, 1);
    postern_result results[] = {
        postern_kv_set(body, body),
        postern_add_header(postern_copy(body).at, body),
        postern_add_trailer("x-told", body),
        postern_publish(body, NULL, body, NULL),
    };
    for (size_t i = 0; i < sizeof results / sizeof *results; i++)
        if (results[i].failed)
            return results[i];
    return postern_with_details(postern_fail(POSTERN_ABORTED, "%.*s", (int)body.length, body.at), postern_json_quote(body));
}

static postern_result shout(postern_slice method) {
    (void)method;
    for (bool more;;) {
        postern_mark mark = postern_take_mark();
        postern_result message = postern_next(&more);
        if (message.failed || !more)
            return message;
        postern_result sent = postern_send(postern_format("%.*s!", (int)message.value.length, message.value.at));
        if (sent.failed)
            return sent;
        postern_release(mark);
    }
}

static postern_result on_event(postern_slice topic, postern_slice content_type, postern_slice payload) {
    if (!postern_equals(content_type, "application/json"))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "content type `%.*s`", (int)content_type.length, content_type.at);
    return postern_publish(postern_format("seen.%.*s", (int)topic.length, topic.at), NULL, payload, NULL);
}

static postern_result on_request(postern_action *action) {
    postern_slice key;
    if (!postern_request_header("x-key", &key))
        return postern_fail(POSTERN_UNAUTHENTICATED, "no header x-key");
    if (postern_equals(key, "cached")) {
        *action = POSTERN_ANSWER;
        return postern_response_set_payload(postern_text("from the cache"));
    }
    return postern_request_set_header("x-seen", postern_request_service());
}

static postern_result on_response(void) {
    postern_result failure;
    if (postern_response_failed(&failure) && failure.kind == POSTERN_NOT_FOUND)
        return postern_response_set_payload(postern_text("nothing"));
    return postern_done();
}

static postern_status check(postern_slice *why) {
    postern_slice value;
    if (postern_config("word", &value))
        return POSTERN_SERVING;
    *why = postern_text("`word` is not configured");
    return POSTERN_NOT_SERVING;
}

static postern_result authenticate(postern_slice scheme, postern_slice token, bool *known, postern_identity *identity) {
    if (!postern_equals(scheme, "api-key"))
        return postern_done();
    if (!postern_equals(token, "open sesame"))
        return postern_fail(POSTERN_UNAUTHENTICATED, "unknown key");
    *known = true;
    identity->name = postern_text("ali");
    return postern_done();
}

static postern_result authorize(postern_slice called, postern_slice method) {
    (void)method;
    postern_slice tenant;
    if (postern_claim("tenant", &tenant))
        return postern_done();
    return postern_fail(POSTERN_PERMISSION_DENIED, "%.*s", (int)called.length, called.at);
}

static bool should_handle(postern_frame_head head) {
    return head.kind == POSTERN_FRAME_DATA && head.payload_bytes > 0;
}

static postern_result handle_frame(bool *drop) {
    postern_slice value, payload = postern_frame_payload();
    *drop = postern_frame_header("x-drop", &value);
    return postern_frame_set_payload(postern_format("%.*s!", (int)payload.length, payload.at));
}

static size_t n_instances, n_done;

static void update(const postern_instance *instances, size_t n) {
    n_instances = n > 0 && postern_equals(instances[0].id, "a") ? n : 0;
}

static int64_t pick(uint64_t key) {
    for (size_t step = 0; step < n_instances; step++)
        if (postern_usable((uint32_t)((key + step) % n_instances)))
            return (int64_t)((key + step) % n_instances);
    return n_done > 0 ? -2 : -1;
}

static void on_done(uint32_t index, postern_outcome outcome, uint64_t micros) {
    n_done += index == 1 && outcome == POSTERN_OUTCOME_TIMEOUT && micros == 7;
}

static const postern_method methods[] = {
    {.name = "Put", .summary = "Stores a value.", .unary = put},
    {.name = "Find", .summary = "Finds a value.", .unary = find, .idempotent = true},
    {.name = "Relay", .unary = relay},
    {.name = "Tell", .unary = tell},
    {.name = "Shout", .shape = POSTERN_BIDIRECTIONAL, .stream = shout},
};
static const postern_service service = {"notes", "1.0.0", "Keeps notes.", methods, 5};

POSTERN_SERVICE(service)
POSTERN_HANDLER
POSTERN_STREAM_HANDLER
POSTERN_EVENT_HANDLER(on_event)
POSTERN_REQUEST_INTERCEPTOR(on_request)
POSTERN_RESPONSE_INTERCEPTOR(on_response)
POSTERN_AUTHENTICATOR(authenticate)
POSTERN_AUTHORIZER(authorize)
POSTERN_FRAME_EXTENSION(should_handle, handle_frame)
POSTERN_BALANCER(update, pick, on_done)
POSTERN_HEALTH(check)
