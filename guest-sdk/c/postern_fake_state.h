/* What the fake host knows, for postern_fake.c and postern_fake_host.c. */
#ifndef POSTERN_FAKE_STATE_H
#define POSTERN_FAKE_STATE_H

#include "postern_fake.h"

#define fake postern_fake_

enum {
    ENTRIES_MAX = 64,
    HEADER_NAME_BYTES_MAX = 255,
    HEADERS_BYTES_MAX = 65535,
    KV_KEY_BYTES_MAX = 1024,
    KV_VALUE_BYTES_MAX = 1 << 20,
    KV_KEYS_MAX = 1000,
    /* `plugins.limits.output`, unless the gateway is configured. */
    OUTPUT_BYTES_MAX = 8 << 20,
};

/* Names and values, copied. */
struct table {
    struct entry {
        postern_slice name, value;
    } entries[ENTRIES_MAX];
    size_t length;
};

struct fake_metric {
    postern_slice name, bounds;
    postern_metric_kind kind;
    bool is_declared;
};

extern struct postern_fake_state {
    struct table config, request_headers, request_trailers, claims, kv, answers, topics, log, published, called, series, services;
    struct table reply_headers, reply_trailers, incoming, sent, exchange_request, exchange_response, frame;
    postern_http_info http;
    bool is_http, is_left, is_octets, is_response;
    postern_result kv_failure, answer_failures[ENTRIES_MAX], response;
    postern_slice principal, service, method, request_payload, frame_payload;
    uint64_t remaining_ms, random, elapsed_micros;
    postern_level log_level;
    size_t leave_after;
    uint16_t status;
    bool is_unusable[ENTRIES_MAX];
    struct fake_metric metrics[ENTRIES_MAX];
    size_t n_metrics, n_listings;
} postern_fake_;

postern_slice postern_fake_keep_(postern_slice slice);
void postern_fake_add_(struct table *table, postern_slice name, postern_slice value);
/* In place of what the table has under that name. Names of headers are equal in any case. */
void postern_fake_set_(struct table *table, postern_slice name, postern_slice value, bool any_case);
void postern_fake_remove_(struct table *table, postern_slice name, bool any_case);
bool postern_fake_get_(struct table *table, const char *name, bool any_case, postern_slice *value);
postern_fields postern_fake_all_(const struct table *table);

#endif
