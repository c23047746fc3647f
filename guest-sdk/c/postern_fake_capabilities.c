/* See postern_fake.h. Metrics of the plugin's own, and who answers for a service. */
#ifndef __wasm__
#include "postern_fake_state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    METRIC_NAME_BYTES_MAX = 64,
    METRIC_LABELS_MAX = 8,
    METRIC_VALUE_BYTES_MAX = 128,
    METRIC_HELP_BYTES_MAX = 256,
    METRIC_BOUNDS_MAX = 32,
};

static const char *const suffixes[] = {"_total", "_count", "_sum", "_bucket", "_created", "_info"};
static const char *const labels_taken[] = {"plugin", "le", "quantile"};

static postern_result check_name(const char *what, postern_slice name) {
    bool is_good = name.length >= 1 && name.length <= METRIC_NAME_BYTES_MAX;
    for (size_t i = 0; i < name.length; i++) {
        char c = name.at[i];
        bool is_digit = c >= '0' && c <= '9';
        is_good &= (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (is_digit && i > 0);
    }
    if (is_good)
        return postern_done();
    return postern_fail(POSTERN_INVALID_ARGUMENT, "%s `%.*s` is not 1 to %d letters, digits and `_` that begin with no digit", what,
                        (int)name.length, name.at, METRIC_NAME_BYTES_MAX);
}

static postern_result check_metric(postern_slice name) {
    postern_result checked = check_name("metric", name);
    for (size_t i = 0; !checked.failed && i < sizeof suffixes / sizeof *suffixes; i++) {
        size_t length = strlen(suffixes[i]);
        if (name.length >= length && memcmp(name.at + name.length - length, suffixes[i], length) == 0)
            return postern_fail(POSTERN_INVALID_ARGUMENT, "metric `%.*s` ends in `%s`, which the format adds itself", (int)name.length,
                                name.at, suffixes[i]);
    }
    return checked;
}

static postern_result check_labels(postern_fields labels) {
    if (labels.length > METRIC_LABELS_MAX)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "%zu labels exceed the limit of %d", labels.length, METRIC_LABELS_MAX);
    for (size_t i = 0; i < labels.length; i++) {
        postern_slice name = labels.items[i].name;
        postern_result checked = check_name("label", name);
        if (checked.failed)
            return checked;
        bool is_taken = name.length >= 2 && name.at[0] == '_' && name.at[1] == '_';
        for (size_t at = 0; at < sizeof labels_taken / sizeof *labels_taken; at++)
            is_taken |= postern_equals(name, labels_taken[at]);
        if (is_taken)
            return postern_fail(POSTERN_INVALID_ARGUMENT, "label `%.*s` is taken; choose another name", (int)name.length, name.at);
        for (size_t at = 0; at < i; at++)
            if (postern_same(labels.items[at].name, name))
                return postern_fail(POSTERN_INVALID_ARGUMENT, "label `%.*s` is there twice", (int)name.length, name.at);
        if (labels.items[i].value.length > METRIC_VALUE_BYTES_MAX)
            return postern_fail(POSTERN_INVALID_ARGUMENT, "a value of label `%.*s` has %zu octets, the limit is %d", (int)name.length,
                                name.at, labels.items[i].value.length, METRIC_VALUE_BYTES_MAX);
    }
    return postern_done();
}

/* The metric, made where it is not there; NULL where it is of another kind. */
static struct fake_metric *metric_of(postern_slice name, postern_metric_kind kind) {
    for (size_t i = 0; i < fake.n_metrics; i++)
        if (postern_same(fake.metrics[i].name, name))
            return fake.metrics[i].kind == kind ? &fake.metrics[i] : NULL;
    if (fake.n_metrics == ENTRIES_MAX)
        abort();
    fake.metrics[fake.n_metrics] = (struct fake_metric){.name = postern_fake_keep_(name), .kind = kind};
    return &fake.metrics[fake.n_metrics++];
}

static postern_result other_kind(postern_slice name) {
    return postern_fail(POSTERN_FAILED_PRECONDITION, "metric `%.*s` is of another kind", (int)name.length, name.at);
}

static int compare_fields(const void *one, const void *other) {
    const postern_field *a = one, *b = other;
    return strcmp(postern_copy(a->name).at, postern_copy(b->name).at);
}

/* `name{label=value,..}`, the labels in the order of their names. */
static postern_slice series_name(postern_slice name, postern_fields labels) {
    postern_field sorted[METRIC_LABELS_MAX];
    if (labels.length > 0)
        memcpy(sorted, labels.items, labels.length * sizeof *sorted);
    qsort(sorted, labels.length, sizeof *sorted, compare_fields);
    postern_slice text = postern_format("%.*s", (int)name.length, name.at);
    for (size_t i = 0; i < labels.length; i++)
        text = postern_format("%s{%.*s=%.*s}", text.at, (int)sorted[i].name.length, sorted[i].name.at, (int)sorted[i].value.length,
                              sorted[i].value.at);
    return text;
}

static postern_result change(const char *name, postern_metric_kind kind, const postern_field *labels, size_t n_labels, double value, bool is_set) {
    postern_slice metric = postern_utf8(postern_text(name));
    postern_fields with = postern_utf8_fields_(labels, n_labels);
    if (!isfinite(value) || (kind == POSTERN_COUNTER && value < 0))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "%g cannot be counted", value);
    postern_result checked = check_labels(with);
    if (!checked.failed)
        checked = check_metric(metric);
    if (checked.failed)
        return checked;
    if (metric_of(metric, kind) == NULL)
        return other_kind(metric);
    postern_slice series = series_name(metric, with), stored;
    double sum = 0, n = 0;
    if (postern_fake_get_(&fake.series, series.at, false, &stored)) {
        memcpy(&sum, stored.at, sizeof sum);
        memcpy(&n, stored.at + sizeof sum, sizeof n);
    }
    double both[2] = {is_set ? value : sum + value, n + 1};
    postern_fake_set_(&fake.series, series, (postern_slice){(const char *)both, sizeof both}, false);
    return postern_done();
}

postern_result postern_metric_declare(const char *name, postern_metric_kind kind, const char *help, const double *bounds, size_t n_bounds) {
    postern_slice metric = postern_utf8(postern_text(name)), text = postern_text(help);
    bool is_plain = text.length <= METRIC_HELP_BYTES_MAX;
    for (size_t i = 0; i < text.length; i++)
        is_plain &= (unsigned char)text.at[i] >= ' ' && text.at[i] != 0x7f && text.at[i] != '\\';
    if (!is_plain)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "the text about metric `%s` is not at most %d octets on one line", name, METRIC_HELP_BYTES_MAX);
    bool is_good = n_bounds <= METRIC_BOUNDS_MAX && (kind == POSTERN_HISTOGRAM || n_bounds == 0);
    for (size_t i = 0; is_good && i < n_bounds; i++)
        is_good = isfinite(bounds[i]) && (i == 0 || bounds[i - 1] < bounds[i]);
    if (!is_good)
        return postern_fail(POSTERN_INVALID_ARGUMENT, "the bounds of `%s` are not 1 to %d numbers that grow", name, METRIC_BOUNDS_MAX);
    postern_result checked = check_metric(metric);
    if (checked.failed)
        return checked;
    struct fake_metric *found = metric_of(metric, kind);
    if (found == NULL)
        return other_kind(metric);
    postern_slice told = {(const char *)bounds, n_bounds * sizeof *bounds};
    if (!found->is_declared)
        found->bounds = postern_fake_keep_(told);
    found->is_declared = true;
    if (n_bounds > 0 && !postern_same(found->bounds, told))
        return postern_fail(POSTERN_FAILED_PRECONDITION, "metric `%s` has other bounds already", name);
    return postern_done();
}

postern_result postern_metric_increase(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(name, POSTERN_COUNTER, labels, n_labels, value, false);
}
postern_result postern_metric_set(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(name, POSTERN_GAUGE, labels, n_labels, value, true);
}
postern_result postern_metric_adjust(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(name, POSTERN_GAUGE, labels, n_labels, value, false);
}
postern_result postern_metric_observe(const char *name, const postern_field *labels, size_t n_labels, double value) {
    return change(name, POSTERN_HISTOGRAM, labels, n_labels, value, false);
}

double postern_fake_metric(const char *name, const postern_field *labels, size_t n_labels, size_t *n_changes) {
    postern_slice stored;
    double both[2] = {0, 0};
    if (postern_fake_get_(&fake.series, series_name(postern_text(name), (postern_fields){labels, n_labels}).at, false, &stored))
        memcpy(both, stored.at, sizeof both);
    if (n_changes != NULL)
        *n_changes = (size_t)both[1];
    return both[0];
}

void postern_fake_service(const char *service, const postern_service_instance *instances, size_t n_instances) {
    postern_slice octets = {(const char *)instances, n_instances * sizeof *instances};
    postern_fake_set_(&fake.services, postern_text(service), octets, false);
    fake.n_listings++;
}

postern_result postern_discover(postern_slice service, postern_listing *listing) {
    service = postern_utf8(service);
    postern_slice stored;
    if (!postern_fake_get_(&fake.services, postern_copy(service).at, false, &stored))
        return postern_fail(POSTERN_PERMISSION_DENIED, "looking up service `%.*s` is not granted; [grants] directory = [\"%.*s\"] in the manifest gives it",
                            (int)service.length, service.at, (int)service.length, service.at);
    size_t n = stored.length / sizeof(postern_service_instance);
    postern_service_instance *instances = postern_alloc(stored.length);
    if (n > 0)
        memcpy(instances, stored.at, stored.length);
    *listing = (postern_listing){postern_format("%zu", fake.n_listings), instances, n};
    return postern_done();
}

/* Nothing changes while a test is in here, so it does not wait. */
postern_result postern_next_change(postern_slice service, postern_slice revision, uint32_t timeout_ms, bool *changed, postern_listing *listing) {
    (void)timeout_ms;
    postern_listing now = {0};
    postern_result found = postern_discover(service, &now);
    *changed = !found.failed && !postern_same(now.revision, revision);
    if (*changed)
        *listing = now;
    return found;
}

#endif
