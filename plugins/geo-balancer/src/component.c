/* The role `balancer` of wit/postern.wit over geo.c, by hand in the canonical ABI: no generator, no
 * libc, no WASI. Strings and lists that the host hands over lie in an arena that is emptied when an
 * entry ends; geo.c keeps hashes, so nothing of it is needed later. */
#include "geo.h"

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name)))
#define EXPORT(name) __attribute__((export_name(name)))
#define BALANCER "postern:gateway/balancer@0.1.0#"

enum {
    PAGE_BYTES = 65536,
    /* Longest name of a header that the manifest may give. */
    HEADER_BYTES_MAX = 255,
};

struct text {
    uint8_t *octets;
    size_t length;
};

struct text_option {
    uint8_t is_some;
    struct text text;
};

struct text_list {
    void *items;
    size_t length;
};

/* `record instance`; on wasm32 the layouts of C and of the canonical ABI are the same. */
struct instance {
    struct text id;
    uint32_t weight;
    struct text_option zone;
    struct text_option version;
    struct text_list metadata;
};
_Static_assert(sizeof(struct instance) == 44, "the canonical ABI's size of `instance`");

struct index_option {
    uint8_t is_some;
    uint32_t index;
};

IMPORT("postern:gateway/candidates@0.1.0", "usable")
extern int32_t candidates_usable(uint32_t index);
IMPORT("postern:gateway/call@0.1.0", "header")
extern void call_header(const uint8_t *name, size_t length, struct text_option *value);
IMPORT("postern:gateway/config@0.1.0", "get")
extern void config_get(const uint8_t *key, size_t length, struct text_option *value);

extern uint8_t __heap_base;

static struct geo geo;
static struct index_option picked;
static bool is_started;
static uint8_t header_name[HEADER_BYTES_MAX] = "x-region";
static size_t header_length = 8;
/* Region of callers that do not say theirs; 0 for none. */
static uint64_t region_default;
static size_t arena_used;

/* Only ever asked for memory of its own: nothing in the arena is grown. */
EXPORT("cabi_realloc")
void *cabi_realloc(void *old, size_t old_bytes, size_t align, size_t bytes) {
    (void)old;
    (void)old_bytes;
    size_t base = (size_t)&__heap_base;
    size_t begin = (base + arena_used + align - 1) & ~(align - 1);
    size_t end = begin + bytes;
    size_t there = __builtin_wasm_memory_size(0) * (size_t)PAGE_BYTES;
    if (end < begin)
        __builtin_trap();
    if (end > there && __builtin_wasm_memory_grow(0, (end - there + PAGE_BYTES - 1) / PAGE_BYTES) == (size_t)-1)
        __builtin_trap();
    arena_used = end - base;
    return (void *)begin;
}

static void start(void) {
    struct text_option value;
    config_get((const uint8_t *)"header", 6, &value);
    if (value.is_some && value.text.length >= 1 && value.text.length <= HEADER_BYTES_MAX) {
        header_length = value.text.length;
        for (size_t i = 0; i < header_length; i++)
            header_name[i] = value.text.octets[i];
    }
    config_get((const uint8_t *)"region", 6, &value);
    if (value.is_some)
        region_default = geo_hash(value.text.octets, value.text.length);
    is_started = true;
}

static bool is_usable(uint32_t index) {
    return candidates_usable(index) != 0;
}

EXPORT(BALANCER "update")
void balancer_update(const struct instance *instances, size_t n_instances) {
    if (!is_started)
        start();
    geo_clear(&geo);
    for (size_t i = 0; i < n_instances; i++) {
        const struct text_option *zone = &instances[i].zone;
        uint64_t hash = zone->is_some ? geo_hash(zone->text.octets, zone->text.length) : 0;
        geo_add(&geo, hash, instances[i].weight);
    }
    arena_used = 0;
}

EXPORT(BALANCER "pick")
struct index_option *balancer_pick(uint64_t key) {
    (void)key;
    struct text_option region;
    call_header(header_name, header_length, &region);
    uint64_t hash = region.is_some ? geo_hash(region.text.octets, region.text.length) : 0;
    int64_t index = geo_pick(&geo, hash != 0 ? hash : region_default, is_usable);
    picked.is_some = index >= 0;
    picked.index = index >= 0 ? (uint32_t)index : 0;
    arena_used = 0;
    return &picked;
}

EXPORT(BALANCER "done")
void balancer_done(uint32_t index, uint32_t outcome, uint64_t micros) {
    (void)index;
    (void)outcome;
    (void)micros;
}
