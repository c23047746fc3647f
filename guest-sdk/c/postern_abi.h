/* Shapes of the canonical ABI, for postern_component.c and postern_roles.c. On wasm32 the layouts of C are those
 * of the canonical ABI. */
#ifndef POSTERN_ABI_H
#define POSTERN_ABI_H

#include "postern.h"

#define IMPORT(interface, name) __attribute__((import_module("postern:gateway/" interface "@0.1.0"), import_name(name)))

struct optional {
    uint8_t is_some;
    postern_slice value;
};

struct failure {
    uint8_t kind;
    postern_slice message;
    struct optional details;
};

/* A result with a failure and a value of at most a slice; also an option of a failure. */
struct result {
    uint8_t is_error;
    union {
        postern_slice value;
        struct optional option;
        bool flag;
        uint32_t number;
        struct failure failure;
    };
};
_Static_assert(sizeof(struct result) == 28, "the canonical ABI's size of `result<list<u8>, failure>`");

struct http_shape {
    uint8_t is_some;
    postern_slice method, scheme, authority, path;
    struct optional query;
};

struct peer_shape {
    postern_slice transport;
    struct optional address;
};

struct principal_shape {
    uint8_t is_some;
    postern_slice name;
    struct {
        const postern_slice *items;
        size_t length;
    } roles;
};

struct instance_shape {
    postern_slice id;
    uint32_t weight;
    struct optional zone, version;
    postern_fields metadata;
};
_Static_assert(sizeof(struct instance_shape) == 44, "the canonical ABI's size of `instance`");

struct method_shape {
    postern_slice name, summary;
    uint8_t kind;
    postern_slice request, response;
    uint8_t idempotent;
};
_Static_assert(sizeof(struct method_shape) == 40, "the canonical ABI's size of `method`");

struct service_shape {
    postern_slice name;
    struct optional version;
    postern_slice summary;
    struct {
        const void *items;
        size_t length;
    } methods;
};
_Static_assert(sizeof(struct service_shape) == 36, "the canonical ABI's size of `service`");

struct identity_shape {
    postern_slice name;
    struct {
        const postern_slice *items;
        size_t length;
    } roles;
    postern_fields claims;
    struct {
        uint8_t is_some;
        uint64_t value;
    } valid_ms;
};

/* A result whose value has a u64, which moves everything to multiples of eight. */
struct authenticated {
    uint64_t is_error;
    union {
        struct failure failure;
        struct {
            uint8_t is_some;
            struct identity_shape value;
        } identity;
    };
};
_Static_assert(sizeof(struct authenticated) == 56, "the canonical ABI's size of `result<option<identity>, failure>`");

/* Where the result of the last export lies. */
extern union postern_ret {
    struct result result;
    struct authenticated authenticated;
    postern_slice list;
    struct {
        uint8_t is_some;
        uint32_t index;
    } picked;
    struct {
        uint8_t status;
        struct optional why;
    } report;
} postern_ret_;

/* Around each exported function. */
void postern_begin_(void);
void *postern_end_(void);
/* Within a batch: which call is answered, told to the host when something is asked about it; -1 for none. */
extern int64_t postern_pending_turn_;
/* Before whatever depends on whose call is answered. */
void postern_ask_(void);

static inline postern_result taken(const struct result *from) {
    if (!from->is_error)
        return postern_ok(from->value);
    postern_result failed = {.failed = true, .kind = (postern_kind)from->failure.kind, .value = from->failure.message};
    if (from->failure.details.is_some)
        failed.details = from->failure.details.value;
    return failed;
}

/* Of what gives nothing. */
static inline postern_result taken_empty(const struct result *from) {
    return from->is_error ? taken(from) : postern_done();
}

static inline bool taken_optional(const struct optional *from, postern_slice *value) {
    if (from->is_some)
        *value = from->value;
    return from->is_some;
}

#endif
