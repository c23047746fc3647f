/* Tests of geo.c, and of the role over it against a fake host. They say nothing when all is well. */
#include "postern_fake.h"

#include "../src/geo.h"

#include <string.h>

static struct geo geo;
static bool usable[GEO_INSTANCES_MAX + 1];

#define CHECK POSTERN_CHECK

static bool is_usable(uint32_t index) {
    return usable[index];
}

static uint64_t zone(const char *name) {
    return geo_hash((const uint8_t *)name, strlen(name));
}

static int64_t pick(const char *region) {
    return geo_pick(&geo, zone(region), is_usable);
}

/* Indices 0 and 2 in eu, 1 and 3 in us, 4 without a zone; all usable. */
static void five(void) {
    const char *zones[] = {"eu", "us", "eu", "us", ""};
    geo_clear(&geo);
    for (int i = 0; i < 5; i++)
        geo_add(&geo, zone(zones[i]), 100);
    memset(usable, true, sizeof usable);
}

static void callers_stay_in_their_region_and_take_turns(void) {
    five();
    for (int round = 0; round < 3; round++) {
        CHECK(pick("eu") == 0);
        CHECK(pick("us") == 1);
        CHECK(pick("eu") == 2);
        CHECK(pick("us") == 3);
    }
}

static void a_region_without_usable_instances_falls_back_to_all(void) {
    five();
    usable[0] = usable[2] = false;
    CHECK(pick("eu") == 1);
    CHECK(pick("eu") == 3);
    CHECK(pick("eu") == 4);
    CHECK(pick("asia") == 1);
    usable[2] = true;
    CHECK(pick("eu") == 2);
}

static void a_caller_without_a_region_gets_all_in_turn(void) {
    five();
    for (int64_t index = 0; index < 10; index++)
        CHECK(pick("") == index % 5);
}

static void weight_0_takes_no_calls(void) {
    geo_clear(&geo);
    geo_add(&geo, zone("eu"), 0);
    geo_add(&geo, zone("us"), 1);
    CHECK(pick("eu") == 1);
    CHECK(pick("eu") == 1);
}

static void none_is_picked_where_none_is_usable(void) {
    five();
    memset(usable, false, sizeof usable);
    CHECK(pick("eu") == -1);
    geo_clear(&geo);
    CHECK(pick("eu") == -1);
    CHECK(pick("") == -1);
}

static void instances_beyond_the_bound_are_left_alone(void) {
    geo_clear(&geo);
    memset(usable, true, sizeof usable);
    for (int i = 0; i < GEO_INSTANCES_MAX - 1; i++)
        geo_add(&geo, 0, 0);
    geo_add(&geo, zone("eu"), 100);
    geo_add(&geo, zone("eu"), 100);
    CHECK(geo.n_instances == GEO_INSTANCES_MAX);
    CHECK(pick("eu") == GEO_INSTANCES_MAX - 1);
    CHECK(pick("eu") == GEO_INSTANCES_MAX - 1);
}

static void a_hash_is_fnv_1a_and_only_nothing_is_0(void) {
    CHECK(zone("") == 0);
    CHECK(zone("a") == 0xaf63dc4c8601ec8cu);
    CHECK(zone("foobar") == 0x85944171f73967e8u);
}

/* Before the manifest is read, which the role does once, at the first update. */
static void the_region_is_that_of_the_header_or_of_the_manifest(void) {
    const postern_instance instances[] = {
        {.id = {"a", 1}, .weight = 100, .zone = {"eu", 2}},
        {.id = {"b", 1}, .weight = 100, .zone = {"us", 2}},
        {.id = {"c", 1}, .weight = 100},
    };
    postern_fake_begin();
    postern_fake_config("header", "x-zone");
    postern_fake_config("region", "us");
    postern_fake_update(instances, 3);
    CHECK(postern_fake_pick(0) == 1);
    postern_fake_header("x-zone", "eu");
    CHECK(postern_fake_pick(0) == 0);
    postern_fake_usable(0, false);
    CHECK(postern_fake_pick(0) == 1);
    CHECK(postern_fake_pick(0) == 2);
}

int main(void) {
    callers_stay_in_their_region_and_take_turns();
    a_region_without_usable_instances_falls_back_to_all();
    a_caller_without_a_region_gets_all_in_turn();
    weight_0_takes_no_calls();
    none_is_picked_where_none_is_usable();
    instances_beyond_the_bound_are_left_alone();
    a_hash_is_fnv_1a_and_only_nothing_is_0();
    the_region_is_that_of_the_header_or_of_the_manifest();
    return postern_fake_failed();
}
