/* Which instance gets a call: one of the caller's region, in turn; any other where there is none.
 * Pure: what is known of a call and of the instances is passed in. */
#ifndef GEO_H
#define GEO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    /* Instances that are told apart; those beyond get no calls from this balancer. */
    GEO_INSTANCES_MAX = 4096,
    /* Turns that are kept. Regions that share one take turns together. */
    GEO_TURNS = 64,
};

struct geo {
    /* Hash of each instance's zone; 0 for one without. */
    uint64_t zones[GEO_INSTANCES_MAX];
    /* Whether it takes calls: its weight is not 0. */
    bool takes_calls[GEO_INSTANCES_MAX];
    uint32_t n_instances;
    /* Index that the next search begins at, by region; the last one is for calls without. */
    uint32_t next[GEO_TURNS + 1];
};

typedef bool (*geo_usable)(uint32_t index);

/* Names a region or a zone; never 0, and 0 for an empty name. */
uint64_t geo_hash(const uint8_t *name, size_t length);

/* Begins a new set of instances. Turns begin anew. */
void geo_clear(struct geo *geo);

/* Adds an instance at the next index. */
void geo_add(struct geo *geo, uint64_t zone, uint32_t weight);

/* The index of the instance for a caller of `region` (0: not known), or -1 where none is usable. */
int64_t geo_pick(struct geo *geo, uint64_t region, geo_usable usable);

#endif
