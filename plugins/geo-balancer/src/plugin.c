/* The role `balancer` over geo.c. Of the instances hashes are kept, so nothing of what is told is needed later. */
#include "postern.h"

#include "geo.h"

#include <string.h>

enum {
    /* Longest name of a header that the manifest may give. */
    HEADER_BYTES_MAX = 255,
};

static struct geo geo;
static bool is_started;
static char header[HEADER_BYTES_MAX + 1] = "x-region";
/* Region of callers that do not say theirs; 0 for none. */
static uint64_t region_default;

static uint64_t hash_of(postern_slice name) {
    return geo_hash((const uint8_t *)name.at, name.length);
}

static void start(void) {
    postern_slice value;
    if (postern_config("header", &value) && value.length >= 1 && value.length <= HEADER_BYTES_MAX) {
        memcpy(header, value.at, value.length);
        header[value.length] = 0;
    }
    if (postern_config("region", &value))
        region_default = hash_of(value);
    is_started = true;
}

static void update(const postern_instance *instances, size_t n_instances) {
    if (!is_started)
        start();
    geo_clear(&geo);
    for (size_t i = 0; i < n_instances; i++)
        geo_add(&geo, hash_of(instances[i].zone), instances[i].weight);
}

static int64_t pick(uint64_t key) {
    (void)key;
    postern_slice region = {0};
    postern_header(header, &region);
    uint64_t hash = hash_of(region);
    return geo_pick(&geo, hash != 0 ? hash : region_default, postern_usable);
}

POSTERN_BALANCER(update, pick, NULL)
