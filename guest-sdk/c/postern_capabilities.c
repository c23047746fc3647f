/* The imports `metrics` and `directory` behind postern.h; see postern_component.c. */
#ifdef __wasm__
#include "postern_abi.h"

#define METRIC(name, function) \
    IMPORT("metrics", name) extern void function(const char *metric, size_t metric_length, const postern_field *labels, size_t n_labels, double value, struct result *out);

METRIC("increase", metrics_increase)
METRIC("set", metrics_set)
METRIC("adjust", metrics_adjust)
METRIC("observe", metrics_observe)
IMPORT("metrics", "declare") extern void metrics_declare(const char *name, size_t name_length, uint32_t kind, const char *help, size_t help_length, const double *bounds, size_t n_bounds, struct result *out);

struct service_instance_shape {
    postern_slice id;
    struct {
        const postern_slice *items;
        size_t length;
    } addresses;
    struct optional version, zone;
    uint32_t weight;
    postern_fields metadata;
    uint8_t healthy, stale;
};
_Static_assert(sizeof(struct service_instance_shape) == 56, "the canonical ABI's size of `service-instance`");

struct listing_shape {
    postern_slice revision;
    struct {
        const struct service_instance_shape *items;
        size_t length;
    } instances;
};

/* The same places as in `struct result`: a failure is the larger of both. */
union listed {
    struct result result;
    struct {
        uint8_t is_error;
        struct listing_shape listing;
    } found;
    struct {
        uint8_t is_error;
        struct {
            uint8_t is_some;
            struct listing_shape listing;
        } option;
    } changed;
};
_Static_assert(sizeof(union listed) == 28, "the canonical ABI's size of `result<option<listing>, failure>`");

IMPORT("directory", "discover") extern void directory_discover(const char *service, size_t length, union listed *out);
IMPORT("directory", "next-change") extern void directory_next_change(const char *service, size_t length, const char *revision, size_t revision_length, uint32_t timeout_ms, union listed *out);

typedef void change_metric(const char *, size_t, const postern_field *, size_t, double, struct result *);

static postern_result change(change_metric *function, const char *name, const postern_field *labels, size_t n_labels, double value) {
    postern_slice metric = postern_utf8(postern_text(name));
    postern_fields with = postern_utf8_fields_(labels, n_labels);
    struct result out;
    function(metric.at, metric.length, with.items, with.length, value, &out);
    return taken_empty(&out);
}

postern_result postern_metric_declare(const char *name, postern_metric_kind kind, const char *help, const double *bounds, size_t n_bounds) {
    postern_slice metric = postern_utf8(postern_text(name)), text = postern_utf8(postern_text(help));
    struct result out;
    metrics_declare(metric.at, metric.length, (uint32_t)kind, text.at, text.length, bounds, n_bounds, &out);
    return taken_empty(&out);
}

postern_result postern_metric_increase(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(metrics_increase, name, labels, n_labels, value);
}
postern_result postern_metric_set(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(metrics_set, name, labels, n_labels, value);
}
postern_result postern_metric_adjust(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(metrics_adjust, name, labels, n_labels, value);
}
postern_result postern_metric_observe(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(metrics_observe, name, labels, n_labels, value);
}

static void take(const struct listing_shape *from, postern_listing *listing) {
    postern_service_instance *instances = postern_alloc(from->instances.length * sizeof *instances);
    for (size_t i = 0; i < from->instances.length; i++) {
        const struct service_instance_shape *one = &from->instances.items[i];
        instances[i] = (postern_service_instance){
            .id = one->id,
            .addresses = one->addresses.items,
            .n_addresses = one->addresses.length,
            .weight = one->weight,
            .metadata = one->metadata,
            .healthy = one->healthy,
            .stale = one->stale,
        };
        taken_optional(&one->version, &instances[i].version);
        taken_optional(&one->zone, &instances[i].zone);
    }
    *listing = (postern_listing){from->revision, instances, from->instances.length};
}

postern_result postern_discover(postern_slice service, postern_listing *listing) {
    service = postern_utf8(service);
    union listed out;
    postern_ask_();
    directory_discover(service.at, service.length, &out);
    if (!out.result.is_error)
        take(&out.found.listing, listing);
    return taken_empty(&out.result);
}

postern_result postern_next_change(postern_slice service, postern_slice revision, uint32_t timeout_ms, bool *changed, postern_listing *listing) {
    service = postern_utf8(service);
    revision = postern_utf8(revision);
    union listed out;
    postern_ask_();
    directory_next_change(service.at, service.length, revision.at, revision.length, timeout_ms, &out);
    *changed = !out.result.is_error && out.changed.option.is_some;
    if (*changed)
        take(&out.changed.option.listing, listing);
    return taken_empty(&out.result);
}

#endif
