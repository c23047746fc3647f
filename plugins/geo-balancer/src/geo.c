/* See geo.h. */
#include "geo.h"

static int64_t search(const struct geo *geo, uint32_t from, uint64_t region, geo_usable usable);

uint64_t geo_hash(const uint8_t *name, size_t length) {
    /* FNV-1a, 64 bits. */
    uint64_t hash = 0xcbf29ce484222325u;
    if (length == 0)
        return 0;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ name[i]) * 0x100000001b3u;
    return hash == 0 ? 1 : hash;
}

void geo_clear(struct geo *geo) {
    geo->n_instances = 0;
    for (uint32_t turn = 0; turn <= GEO_TURNS; turn++)
        geo->next[turn] = 0;
}

void geo_add(struct geo *geo, uint64_t zone, uint32_t weight) {
    if (geo->n_instances == GEO_INSTANCES_MAX)
        return;
    geo->zones[geo->n_instances] = zone;
    geo->takes_calls[geo->n_instances] = weight > 0;
    geo->n_instances++;
}

int64_t geo_pick(struct geo *geo, uint64_t region, geo_usable usable) {
    if (region != 0) {
        uint32_t *next = &geo->next[region % GEO_TURNS];
        int64_t index = search(geo, *next, region, usable);
        if (index >= 0) {
            *next = (uint32_t)index + 1;
            return index;
        }
    }
    uint32_t *next = &geo->next[GEO_TURNS];
    int64_t index = search(geo, *next, 0, usable);
    if (index >= 0)
        *next = (uint32_t)index + 1;
    return index;
}

/* The first from `from` on, going round, that is of `region` (0: of any) and may get the call. The
 * host is asked last: that is what costs. */
static int64_t search(const struct geo *geo, uint32_t from, uint64_t region, geo_usable usable) {
    for (uint32_t step = 0; step < geo->n_instances; step++) {
        uint32_t index = (from + step) % geo->n_instances;
        bool here = region == 0 || geo->zones[index] == region;
        if (here && geo->takes_calls[index] && usable(index))
            return index;
    }
    return -1;
}
