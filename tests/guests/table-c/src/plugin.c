/* Plugin table-c answers the calls of tests/vectors/guests.json in C. */
#include "postern.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

static const char *const name = "table-c";

/* Reads a key of a message as text; `otherwise` NULL: it has to be there. */
static postern_result text_of(postern_slice message, const char *key, const char *otherwise) {
    postern_slice value, text;
    if (!postern_json_valid(message))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "message is not JSON");
    if (!postern_json_get(message, key, &value)) {
        if (otherwise != NULL)
            return postern_ok(postern_text(otherwise));
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`%s` is missing", key);
    }
    if (!postern_json_string(value, &text))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`%s` is no string", key);
    return postern_ok(text);
}

static postern_result number_of(postern_slice message, const char *key, int64_t *number) {
    postern_slice value;
    if (!postern_json_valid(message))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "message is not JSON");
    if (!postern_json_get(message, key, &value) || !postern_json_int(value, number))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`%s` is missing or no number", key);
    return postern_done();
}

/* `{"key":"text"}`. */
static postern_slice object_of(const char *key, postern_slice text) {
    return postern_format("{\"%s\":%s}", key, postern_json_quote(text).at);
}

static postern_result optional_of(bool is, postern_slice text) {
    return postern_ok(is ? object_of("value", text) : postern_text("{\"value\":null}"));
}

static postern_slice total_of(int64_t sum, uint64_t count) {
    return postern_format("{\"sum\":%" PRId64 ",\"count\":%" PRIu64 "}", sum, count);
}

static postern_result echo(postern_slice method, postern_slice body) {
    (void)method;
    return postern_ok(body);
}

static postern_result sum(postern_slice method, postern_slice body) {
    (void)method;
    postern_slice values, item;
    int64_t sum = 0, number;
    uint64_t count = 0;
    size_t cursor = 0;
    if (!postern_json_valid(body))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "message is not JSON");
    if (!postern_json_get(body, "values", &values) || !postern_json_is_array(values))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`values` is missing or no array");
    for (; postern_json_next(values, &cursor, &item); count++) {
        if (!postern_json_int(item, &number))
            return postern_fail(POSTERN_INVALID_ARGUMENT, "`values[%" PRIu64 "]` is no number", count);
        sum += number;
    }
    return postern_ok(total_of(sum, count));
}

static postern_result fail(postern_slice method, postern_slice body) {
    (void)method;
    postern_slice details;
    postern_kind kind;
    postern_result named = text_of(body, "kind", NULL), message = text_of(body, "message", NULL);
    if (named.failed || message.failed)
        return named.failed ? named : message;
    if (!postern_kind_of(named.value, &kind))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "no kind `%.*s`", (int)named.value.length, named.value.at);
    postern_result failure = postern_fail(kind, "%.*s", (int)message.value.length, message.value.at);
    return postern_json_get(body, "details", &details) ? postern_with_details(failure, details) : failure;
}

static postern_result header(postern_slice method, postern_slice body) {
    (void)method;
    postern_result asked = text_of(body, "name", NULL);
    if (asked.failed)
        return asked;
    postern_slice value = {0};
    bool is = postern_header(postern_copy(asked.value).at, &value);
    postern_result added = is ? postern_add_header("x-out", value) : postern_done();
    return added.failed ? added : optional_of(is, value);
}

static postern_result setting(postern_slice method, postern_slice body) {
    (void)method;
    postern_result key = text_of(body, "key", NULL);
    if (key.failed)
        return key;
    postern_slice value = {0};
    bool is = postern_config(postern_copy(key.value).at, &value);
    return optional_of(is, value);
}

static postern_result store(postern_slice method, postern_slice body) {
    (void)method;
    postern_result key = text_of(body, "key", NULL), value = text_of(body, "value", NULL);
    if (key.failed || value.failed)
        return key.failed ? key : value;
    postern_result stored = postern_kv_set(key.value, value.value);
    return stored.failed ? stored : postern_ok(object_of("stored", key.value));
}

static postern_result find(postern_slice method, postern_slice body) {
    (void)method;
    bool found;
    postern_result key = text_of(body, "key", NULL);
    if (key.failed)
        return key;
    postern_result value = postern_kv_get(key.value, &found);
    if (value.failed)
        return value;
    if (!found)
        return postern_fail(POSTERN_NOT_FOUND, "no value `%.*s`", (int)key.value.length, key.value.at);
    return optional_of(true, value.value);
}

static postern_result relay(postern_slice method, postern_slice body) {
    (void)method;
    postern_result service = text_of(body, "service", name), called = text_of(body, "method", NULL), text = text_of(body, "text", NULL);
    if (service.failed || called.failed || text.failed)
        return service.failed ? service : called.failed ? called : text;
    postern_result reply = postern_call(service.value, called.value, text.value, NULL, 0);
    return reply.failed ? reply : postern_ok(object_of("reply", reply.value));
}

static postern_result publish(postern_slice method, postern_slice body) {
    (void)method;
    postern_slice payload;
    uint32_t n_subscribers;
    postern_result topic = text_of(body, "topic", NULL);
    if (topic.failed)
        return topic;
    if (!postern_json_get(body, "payload", &payload))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "`payload` is missing");
    postern_result published = postern_publish(topic.value, "application/json", payload, &n_subscribers);
    return published.failed ? published : postern_ok(postern_format("{\"subscribers\":%" PRIu32 "}", n_subscribers));
}

static postern_result spin(postern_slice method, postern_slice body) {
    (void)method, (void)body;
    for (volatile int n = 0;; n = !n) {
    }
}

static postern_result collect(postern_slice method) {
    (void)method;
    int64_t sum = 0, number;
    uint64_t count = 0;
    for (bool more;; count++) {
        postern_result message = postern_next(&more);
        if (message.failed)
            return message;
        if (!more)
            return postern_send(total_of(sum, count));
        postern_result read = number_of(message.value, "value", &number);
        if (read.failed)
            return read;
        sum += number;
    }
}

static postern_result count(postern_slice method) {
    (void)method;
    bool more;
    int64_t to;
    postern_result message = postern_next(&more);
    if (message.failed)
        return message;
    postern_result read = number_of(message.value, "to", &to);
    postern_result then = text_of(message.value, "then", "");
    if (read.failed || then.failed)
        return read.failed ? read : then;
    /* The message is gone once another is taken; here it is the only one. */
    postern_result added = postern_add_header("x-first", postern_text("1"));
    for (int64_t value = 1; value <= to && !added.failed; value++) {
        postern_mark mark = postern_take_mark();
        added = postern_send(postern_format("{\"value\":%" PRId64 "}", value));
        if (!added.failed)
            postern_release(mark);
    }
    postern_kind kind;
    if (added.failed)
        return added;
    if (postern_kind_of(then.value, &kind))
        return postern_fail(kind, "ended after %" PRId64, to);
    return postern_add_trailer("x-count", postern_format("%" PRId64, to));
}

static postern_result chat(postern_slice method) {
    (void)method;
    for (bool more;;) {
        postern_result message = postern_next(&more);
        if (message.failed || !more)
            return message;
        postern_result text = text_of(message.value, "text", NULL);
        if (text.failed)
            return text;
        postern_slice upper = postern_copy(text.value);
        for (size_t i = 0; i < upper.length; i++)
            ((char *)upper.at)[i] = (char)toupper((unsigned char)upper.at[i]);
        postern_result sent = postern_send(object_of("text", upper));
        if (sent.failed)
            return sent;
    }
}

static postern_result pass(postern_slice method) {
    (void)method;
    for (bool more;;) {
        postern_result message = postern_next(&more);
        if (message.failed || !more)
            return message;
        postern_result sent = postern_send(message.value);
        if (sent.failed)
            return sent;
    }
}

static postern_result on_event(postern_slice topic, postern_slice content_type, postern_slice payload) {
    (void)content_type;
    return postern_kv_set(postern_format("event:%.*s", (int)topic.length, topic.at), payload);
}

static postern_result throw_it(postern_slice method, postern_slice body) {
    (void)method, (void)body;
    __builtin_trap();
}

static const postern_method methods[] = {
    {.name = "Echo", .unary = echo, .idempotent = true},
    {.name = "Sum", .unary = sum},
    {.name = "Fail", .unary = fail},
    {.name = "Throw", .unary = throw_it},
    {.name = "Header", .unary = header},
    {.name = "Setting", .unary = setting},
    {.name = "Store", .unary = store},
    {.name = "Find", .unary = find},
    {.name = "Relay", .unary = relay},
    {.name = "Publish", .unary = publish},
    {.name = "Spin", .unary = spin},
    {.name = "Collect", .shape = POSTERN_CLIENT_STREAM, .stream = collect},
    {.name = "Count", .shape = POSTERN_SERVER_STREAM, .stream = count},
    {.name = "Chat", .shape = POSTERN_BIDIRECTIONAL, .stream = chat},
    {.name = "Pass", .shape = POSTERN_BIDIRECTIONAL, .stream = pass},
};

static const postern_service service = {
    .name = "table-c",
    .version = "0.1.0",
    .summary = "What every guest language can do.",
    .methods = methods,
    .n_methods = sizeof methods / sizeof methods[0],
};

POSTERN_SERVICE(service)
POSTERN_HANDLER
POSTERN_STREAM_HANDLER
POSTERN_EVENT_HANDLER(on_event)
