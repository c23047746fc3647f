/* What needs no host: the arena, results, methods by name. See postern.h. */
#include "postern.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    /* Octets of the arena's first block, which stays; what does not fit gets a block of its own. */
    BLOCK_BYTES = 64 * 1024,
    ALIGN = 16,
};

struct block {
    struct block *before;
    size_t bytes, used;
    _Alignas(ALIGN) char at[];
};

static struct block *arena;

static const char *const kind_names[] = {
    "cancelled",         "unknown",
    "invalid-argument",  "deadline-exceeded",
    "not-found",         "already-exists",
    "permission-denied", "resource-exhausted",
    "failed-precondition", "aborted",
    "out-of-range",      "unimplemented",
    "internal",          "unavailable",
    "data-loss",         "unauthenticated",
};

enum { N_KINDS = sizeof kind_names / sizeof kind_names[0] };

void *postern_alloc(size_t bytes) {
    if (arena == NULL || bytes > arena->bytes - arena->used) {
        size_t room = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        struct block *fresh = room > SIZE_MAX - sizeof *fresh - ALIGN ? NULL : malloc(sizeof *fresh + room + ALIGN);
        if (fresh == NULL) {
            fprintf(stderr, "out of memory: %zu octets for the arena\n", bytes);
            abort();
        }
        *fresh = (struct block){.before = arena, .bytes = room};
        arena = fresh;
    }
    void *at = arena->at + arena->used;
    size_t used = arena->used + ((bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1));
    arena->used = used < arena->bytes ? used : arena->bytes;
    return at;
}

static void drop_block(void) {
    struct block *before = arena->before;
    free(arena);
    arena = before;
}

void postern_arena_reset_(void) {
    while (arena != NULL && (arena->before != NULL || arena->bytes > BLOCK_BYTES))
        drop_block();
    if (arena != NULL)
        arena->used = 0;
}

postern_mark postern_take_mark(void) {
    return (postern_mark){arena, arena == NULL ? 0 : arena->used};
}

void postern_release(postern_mark mark) {
    while (arena != NULL && arena != mark.block)
        drop_block();
    if (arena != NULL)
        arena->used = mark.used;
}

postern_slice postern_text(const char *text) {
    return (postern_slice){text, strlen(text)};
}

bool postern_same(postern_slice one, postern_slice other) {
    return one.length == other.length && (one.length == 0 || memcmp(one.at, other.at, one.length) == 0);
}

bool postern_equals(postern_slice slice, const char *text) {
    return postern_same(slice, postern_text(text));
}

postern_slice postern_copy(postern_slice slice) {
    char *at = postern_alloc(slice.length + 1);
    if (slice.length > 0)
        memcpy(at, slice.at, slice.length);
    at[slice.length] = 0;
    return (postern_slice){at, slice.length};
}

static postern_slice format_all(const char *format, va_list arguments) {
    va_list again;
    va_copy(again, arguments);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    if (length < 0)
        return postern_text(format);
    char *at = postern_alloc((size_t)length + 1);
    vsnprintf(at, (size_t)length + 1, format, arguments);
    return (postern_slice){at, (size_t)length};
}

postern_slice postern_format(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    postern_slice text = format_all(format, arguments);
    va_end(arguments);
    return text;
}

postern_result postern_ok(postern_slice value) {
    return (postern_result){.value = value};
}

postern_result postern_done(void) {
    return (postern_result){0};
}

postern_result postern_fail(postern_kind kind, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    postern_slice message = format_all(format, arguments);
    va_end(arguments);
    return (postern_result){.failed = true, .kind = kind, .value = message};
}

postern_result postern_with_details(postern_result failure, postern_slice json) {
    failure.details = json;
    return failure;
}

const char *postern_kind_name(postern_kind kind) {
    return (size_t)kind < N_KINDS ? kind_names[kind] : "unknown";
}

bool postern_kind_of(postern_slice name, postern_kind *kind) {
    for (size_t i = 0; i < N_KINDS; i++) {
        if (postern_equals(name, kind_names[i])) {
            *kind = (postern_kind)i;
            return true;
        }
    }
    return false;
}

void postern_log(postern_level level, const char *format, ...) {
    if (!postern_log_enabled(level))
        return;
    postern_mark mark = postern_take_mark();
    va_list arguments;
    va_start(arguments, format);
    postern_log_fields(level, format_all(format, arguments), NULL, 0);
    va_end(arguments);
    postern_release(mark);
}

static const postern_method *find(const postern_service *service, postern_slice name) {
    const postern_method *fallback = NULL;
    for (size_t i = 0; i < service->n_methods; i++) {
        const postern_method *method = &service->methods[i];
        if (postern_equals(name, method->name))
            return method;
        if (strcmp(method->name, "*") == 0)
            fallback = method;
    }
    return fallback;
}

static postern_result unknown_method(const postern_service *service, postern_slice name) {
    postern_slice known = postern_text("");
    for (size_t i = 0; i < service->n_methods; i++)
        known = postern_format("%s%s%s", known.at, i == 0 ? "" : ", ", service->methods[i].name);
    return postern_fail(POSTERN_NOT_FOUND, "service `%s` has no method `%.*s`; it has %s", service->name,
                        (int)name.length, name.at, known.at);
}

postern_result postern_serve_(const postern_service *service, postern_slice name, postern_slice body) {
    const postern_method *method = find(service, name);
    if (method == NULL)
        return unknown_method(service, name);
    if (method->unary == NULL)
        return postern_fail(POSTERN_UNIMPLEMENTED, "method `%s` of service `%s` is streaming", method->name, service->name);
    return method->unary(name, body);
}

/* What is UTF-8 is given back as it is. */
static bool is_text(postern_slice slice) {
    return postern_utf8(slice).at == slice.at;
}

/* The gateway refuses a body that is no text before it enters, and ends an instance that gives such a reply. */
postern_result postern_serve_text_(const postern_service *service, postern_slice name, postern_slice body) {
    if (!is_text(body))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "message is not UTF-8");
    postern_result reply = postern_serve_(service, name, body);
    if (reply.failed || is_text(reply.value))
        return reply;
    return postern_fail(POSTERN_INTERNAL, "reply of method `%.*s` is not UTF-8: POSTERN_HANDLER is for octets", (int)name.length, name.at);
}

postern_result postern_serve_stream_(const postern_service *service, postern_slice name) {
    const postern_method *method = find(service, name);
    if (method == NULL)
        return unknown_method(service, name);
    if (method->unary == NULL && method->stream == NULL)
        return postern_fail(POSTERN_UNIMPLEMENTED, "method `%s` of service `%s` has no function", method->name, service->name);
    if (method->unary == NULL)
        return method->stream(name);
    bool more;
    postern_result got = postern_next(&more);
    if (got.failed)
        return got;
    postern_result reply = method->unary(name, got.value);
    return reply.failed ? reply : postern_send(reply.value);
}
