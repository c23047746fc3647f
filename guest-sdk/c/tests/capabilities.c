/* Tests of metrics and the directory; `main` stands in sdk.c. */
#include "postern_fake.h"

#include <math.h>
#include <string.h>

void capability_tests(void);

#define FIELD(name, value) {{name, sizeof name - 1}, {value, sizeof value - 1}}

static void what_was_counted_is_there_by_name_and_labels(void) {
    static const postern_field one[] = {FIELD("queue", "mail"), FIELD("kind", "a")}, other[] = {FIELD("kind", "a"), FIELD("queue", "mail")};
    size_t n;
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_metric_increase("jobs", one, 2, 1), "");
    POSTERN_CHECK_TEXT(postern_metric_increase("jobs", other, 2, 2), "");
    POSTERN_CHECK_TEXT(postern_metric_set("backlog", NULL, 0, 5), "");
    POSTERN_CHECK_TEXT(postern_metric_adjust("backlog", NULL, 0, -2), "");
    POSTERN_CHECK_TEXT(postern_metric_observe("job_seconds", NULL, 0, 0.25), "");
    POSTERN_CHECK_TEXT(postern_metric_observe("job_seconds", NULL, 0, 0.5), "");
    POSTERN_CHECK(postern_fake_metric("jobs", one, 2, &n) == 3 && n == 2);
    POSTERN_CHECK(postern_fake_metric("backlog", NULL, 0, NULL) == 3);
    POSTERN_CHECK(postern_fake_metric("job_seconds", NULL, 0, &n) == 0.75 && n == 2);
    postern_fake_metric("jobs", NULL, 0, &n);
    POSTERN_CHECK(n == 0);
}

static void names_labels_values_kinds_and_bounds_are_checked(void) {
    static const char *const names[] = {"", "9a", "a-b", "jobs_total", "\xc3\xa9", "a\n"};
    static const postern_field taken[] = {FIELD("plugin", "")}, twice[] = {FIELD("b", ""), FIELD("b", "")};
    char longest[130];
    postern_fake_begin();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        POSTERN_CHECK_FAILS(postern_metric_increase(names[i], NULL, 0, 1), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_metric_set("a", taken, 1, 1), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_metric_set("a", twice, 2, 1), POSTERN_INVALID_ARGUMENT);
    memset(longest, 'x', sizeof longest);
    postern_field label = {{"b", 1}, {longest, 129}};
    POSTERN_CHECK_FAILS(postern_metric_set("a", &label, 1, 1), POSTERN_INVALID_ARGUMENT);
    label.value.length = 128;
    POSTERN_CHECK_TEXT(postern_metric_set("a", &label, 1, 1), "");
    POSTERN_CHECK_FAILS(postern_metric_increase("c", NULL, 0, -1), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_metric_set("a", NULL, 0, NAN), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_metric_observe("a", NULL, 0, 1), POSTERN_FAILED_PRECONDITION);
    static const double good[] = {1, 2}, bad[] = {2, 1};
    POSTERN_CHECK_TEXT(postern_metric_declare("h", POSTERN_HISTOGRAM, "Time", good, 2), "");
    POSTERN_CHECK_TEXT(postern_metric_declare("h", POSTERN_HISTOGRAM, "Time", NULL, 0), "");
    POSTERN_CHECK_FAILS(postern_metric_declare("h", POSTERN_HISTOGRAM, "Time", good, 1), POSTERN_FAILED_PRECONDITION);
    POSTERN_CHECK_FAILS(postern_metric_declare("i", POSTERN_HISTOGRAM, "", bad, 2), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_metric_declare("i", POSTERN_HISTOGRAM, "a\nb", NULL, 0), POSTERN_INVALID_ARGUMENT);
}

static void a_listing_is_told_and_then_what_is_different(void) {
    postern_slice users = postern_text("users");
    postern_service_instance one = {.id = {"users-1", 7}, .weight = 100, .healthy = true};
    postern_listing listing;
    bool changed;
    postern_fake_begin();
    POSTERN_CHECK_FAILS(postern_discover(users, &listing), POSTERN_PERMISSION_DENIED);
    POSTERN_CHECK_FAILS(postern_next_change(users, users, 1, &changed, &listing), POSTERN_PERMISSION_DENIED);
    postern_fake_service("users", &one, 1);
    POSTERN_CHECK_TEXT(postern_discover(users, &listing), "");
    POSTERN_CHECK(listing.n_instances == 1 && postern_equals(listing.instances[0].id, "users-1") && listing.instances[0].healthy);
    postern_slice revision = listing.revision;
    POSTERN_CHECK_TEXT(postern_next_change(users, revision, 1, &changed, &listing), "");
    POSTERN_CHECK(!changed);
    one.healthy = false;
    postern_fake_service("users", &one, 1);
    POSTERN_CHECK_TEXT(postern_next_change(users, revision, 1, &changed, &listing), "");
    POSTERN_CHECK(changed && !listing.instances[0].healthy);
    postern_fake_service("users", NULL, 0);
    POSTERN_CHECK_TEXT(postern_next_change(users, listing.revision, 1, &changed, &listing), "");
    POSTERN_CHECK(changed && listing.n_instances == 0);
}

void capability_tests(void) {
    what_was_counted_is_there_by_name_and_labels();
    names_labels_values_kinds_and_bounds_are_checked();
    a_listing_is_told_and_then_what_is_different();
}
