/* Tests of the SDK against its fake host: `cc -I.. -o sdk sdk.c json.c capabilities.c plugin.c ../postern*.c && ./sdk`, which says
 * nothing when all is well. */
#include "postern_fake.h"

#include <string.h>

void json_tests(void);
void capability_tests(void);

static void what_is_stored_is_found(void) {
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_fake_call("Put", "{\"key\":\"a\",\"value\":[1]}"), "");
    POSTERN_CHECK(strcmp(postern_fake_kv("a"), "[1]") == 0);
    POSTERN_CHECK(postern_equals(postern_fake_reply_header("X-Key"), "a"));
    POSTERN_CHECK(postern_fake_n_logged("put a") == 1);
    POSTERN_CHECK_TEXT(postern_fake_call("Find", "a"), "[1]");
    POSTERN_CHECK(postern_fake_reply_header("x-key").length == 0);
}

static void failures_have_kind_message_and_details(void) {
    postern_fake_begin();
    postern_result failed = postern_fake_call("Find", "b");
    POSTERN_CHECK_FAILS(failed, POSTERN_NOT_FOUND);
    POSTERN_CHECK(postern_equals(failed.value, "no value `b`") && postern_equals(failed.details, "{\"a\":1}"));
    POSTERN_CHECK_FAILS(postern_fake_call("Put", "{}"), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_fake_call("Find", ""), POSTERN_INVALID_ARGUMENT);
    failed = postern_fake_call("Lose", "");
    POSTERN_CHECK_FAILS(failed, POSTERN_NOT_FOUND);
    POSTERN_CHECK(postern_equals(failed.value, "service `notes` has no method `Lose`; it has Put, Find, Relay, Tell, Shout"));
    POSTERN_CHECK_FAILS(postern_fake_call("Shout", ""), POSTERN_UNIMPLEMENTED);
    postern_fake_fail_kv(POSTERN_UNAVAILABLE, "disk");
    POSTERN_CHECK_FAILS(postern_fake_call("Find", "a"), POSTERN_UNAVAILABLE);
}

static void text_goes_out_as_utf8(void) {
    static const char fixed[] = "a\xef\xbf\xbd" "b";
    postern_fake_begin();
    postern_fake_topic(fixed, 1);
    postern_result told = postern_fake_call("Tell", "a\xff" "b");
    POSTERN_CHECK_FAILS(told, POSTERN_ABORTED);
    POSTERN_CHECK(postern_equals(told.value, fixed) && postern_equals(told.details, "\"a\xef\xbf\xbd" "b\""));
    POSTERN_CHECK(postern_fake_kv(fixed) != NULL && strcmp(postern_fake_kv(fixed), "a\xff" "b") == 0);
    POSTERN_CHECK(postern_equals(postern_fake_reply_header(fixed), fixed));
    POSTERN_CHECK(postern_equals(postern_fake_reply_trailer("x-told"), fixed));
    POSTERN_CHECK(postern_equals(postern_fake_published(fixed), "a\xff" "b"));
    POSTERN_CHECK(postern_fake_n_logged("a\xef\xbf\xbd" "b a\xef\xbf\xbd" "b=a\xef\xbf\xbd" "b") == 1);
}

static void other_services_are_called_where_granted(void) {
    postern_fake_begin();
    POSTERN_CHECK_FAILS(postern_fake_call("Relay", "x"), POSTERN_PERMISSION_DENIED);
    postern_fake_answer("other", "Do", "done");
    POSTERN_CHECK_TEXT(postern_fake_call("Relay", "x"), "done");
    POSTERN_CHECK(postern_equals(postern_fake_called("other", "Do"), "x"));
}

static void streams_answer_each_message_until_the_caller_leaves(void) {
    const char *const messages[] = {"a", "b", "c", NULL};
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_fake_stream("Shout", messages), "");
    POSTERN_CHECK(postern_fake_n_sent() == 3 && postern_equals(postern_fake_sent(2), "c!"));
    postern_fake_leave_after(2);
    POSTERN_CHECK_FAILS(postern_fake_stream("Shout", messages), POSTERN_CANCELLED);
    POSTERN_CHECK(postern_fake_n_sent() == 2);
}

static void a_unary_method_is_a_stream_of_one(void) {
    const char *const messages[] = {"k", NULL};
    postern_fake_begin();
    postern_fake_kv_set("k", "v");
    POSTERN_CHECK_TEXT(postern_fake_stream("Find", messages), "");
    POSTERN_CHECK(postern_fake_n_sent() == 1 && postern_equals(postern_fake_sent(0), "v"));
}

static void events_are_taken_and_published(void) {
    postern_fake_begin();
    postern_fake_topic("seen.users", 2);
    POSTERN_CHECK_FAILS(postern_fake_event("users", NULL, "1"), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_TEXT(postern_fake_event("users", "application/json", "1"), "");
    POSTERN_CHECK(postern_equals(postern_fake_published("seen.users"), "1"));
    POSTERN_CHECK_FAILS(postern_fake_event("others", "application/json", "1"), POSTERN_PERMISSION_DENIED);
}

static void interceptors_refuse_answer_and_change(void) {
    postern_action action;
    postern_fake_begin();
    postern_fake_request("users", "Get", "{}");
    POSTERN_CHECK_FAILS(postern_fake_on_request(&action), POSTERN_UNAUTHENTICATED);
    postern_fake_header("X-Key", "k");
    postern_fake_request("users", "Get", "{}");
    POSTERN_CHECK_TEXT(postern_fake_on_request(&action), "");
    POSTERN_CHECK(action == POSTERN_PROCEED && postern_equals(postern_fake_request_header("x-seen"), "users"));
    POSTERN_CHECK_TEXT(postern_fake_on_response(postern_fail(POSTERN_NOT_FOUND, "no user"), 5), "");
    POSTERN_CHECK_TEXT(postern_fake_response(), "nothing");
    POSTERN_CHECK_TEXT(postern_fake_on_response(postern_ok(postern_text("a user")), 5), "");
    POSTERN_CHECK_TEXT(postern_fake_response(), "a user");
}

static void callers_are_known_and_may_call(void) {
    postern_identity who;
    bool known;
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_fake_authenticate("basic", "x", &known, &who), "");
    POSTERN_CHECK(!known);
    POSTERN_CHECK_FAILS(postern_fake_authenticate("api-key", "x", &known, &who), POSTERN_UNAUTHENTICATED);
    POSTERN_CHECK_TEXT(postern_fake_authenticate("api-key", "open sesame", &known, &who), "");
    POSTERN_CHECK(known && postern_equals(who.name, "ali"));
    POSTERN_CHECK_FAILS(postern_fake_authorize("users", "Get"), POSTERN_PERMISSION_DENIED);
    postern_fake_claim("tenant", "acme");
    POSTERN_CHECK_TEXT(postern_fake_authorize("users", "Get"), "");
}

static void frames_are_changed_and_dropped(void) {
    postern_frame_head head = {.kind = POSTERN_FRAME_DATA};
    bool drop;
    postern_result result;
    postern_fake_begin();
    POSTERN_CHECK(postern_fake_frame(head, "a", &drop, &result) && !drop && !result.failed);
    POSTERN_CHECK(postern_equals(postern_fake_frame_payload(), "a!"));
    POSTERN_CHECK(!postern_fake_frame(head, "", &drop, &result));
    postern_fake_header("X-Drop", "1");
    POSTERN_CHECK(postern_fake_frame(head, "a", &drop, &result) && drop);
}

static void headers_of_a_frame_are_bounded(void) {
    static char long_value[65536];
    postern_fake_begin();
    memset(long_value, 'y', 65535);
    POSTERN_CHECK_TEXT(postern_frame_set_header("x", postern_text("1")), "");
    POSTERN_CHECK_TEXT(postern_frame_add_header("X", postern_text("2")), "");
    POSTERN_CHECK(postern_frame_headers().length == 2);
    POSTERN_CHECK_FAILS(postern_frame_add_header("", postern_text("3")), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_frame_set_header("x", postern_text(long_value)), POSTERN_INVALID_ARGUMENT);
    /* What it takes the place of does not count. */
    long_value[65534] = 0;
    POSTERN_CHECK_TEXT(postern_frame_set_header("x", postern_text(long_value)), "");
    POSTERN_CHECK_FAILS(postern_frame_add_header("x", postern_text("")), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_TEXT(postern_frame_remove_header("x"), "");
    POSTERN_CHECK(postern_frame_headers().length == 0);
    POSTERN_CHECK_FAILS(postern_frame_set_payload((postern_slice){long_value, (8 << 20) + 1}), POSTERN_RESOURCE_EXHAUSTED);
}

static postern_result say(postern_slice method, postern_slice body) {
    (void)method;
    return postern_equals(body, "break") ? postern_ok(postern_text("a\xff")) : postern_ok(body);
}

static void messages_of_a_text_handler_are_text(void) {
    static const postern_method methods[] = {{.name = "Say", .unary = say}};
    static const postern_service lines = {"lines", NULL, NULL, methods, 1};
    postern_slice name = postern_text("Say");
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_serve_text_(&lines, name, postern_text("\xc3\xa4")), "\xc3\xa4");
    POSTERN_CHECK_TEXT(postern_serve_text_(&lines, name, postern_text("")), "");
    POSTERN_CHECK_FAILS(postern_serve_text_(&lines, name, postern_text("a\xff")), POSTERN_INVALID_ARGUMENT);
    POSTERN_CHECK_FAILS(postern_serve_text_(&lines, name, postern_text("break")), POSTERN_INTERNAL);
    POSTERN_CHECK_FAILS(postern_serve_text_(&lines, postern_text("Lose"), postern_text("")), POSTERN_NOT_FOUND);
}

static void a_balancer_picks_what_is_usable(void) {
    const postern_instance instances[] = {{.id = {"a", 1}}, {.id = {"b", 1}}, {.id = {"c", 1}}};
    postern_fake_begin();
    POSTERN_CHECK(postern_fake_pick(4) == -1);
    postern_fake_update(instances, 3);
    POSTERN_CHECK(postern_fake_pick(4) == 1);
    postern_fake_usable(1, false);
    postern_fake_usable(2, false);
    POSTERN_CHECK(postern_fake_pick(4) == 0);
    postern_fake_usable(0, false);
    postern_fake_done(1, POSTERN_OUTCOME_TIMEOUT, 7);
    POSTERN_CHECK(postern_fake_pick(4) == -2);
}

static void health_says_why(void) {
    postern_slice why = {0};
    postern_fake_begin();
    POSTERN_CHECK(postern_fake_check(&why) == POSTERN_NOT_SERVING && postern_equals(why, "`word` is not configured"));
    postern_fake_config("word", "Ahoy");
    POSTERN_CHECK(postern_fake_check(&why) == POSTERN_SERVING);
}

static void a_mark_gives_back_what_came_after_it(void) {
    postern_fake_begin();
    char *before = postern_alloc(10);
    memset(before, 'x', 10);
    postern_mark mark = postern_take_mark();
    void *first = postern_alloc(100);
    postern_alloc(1 << 20);
    postern_release(mark);
    POSTERN_CHECK(postern_alloc(100) == first);
    POSTERN_CHECK(memcmp(before, "xxxxxxxxxx", 10) == 0);
}

static void kinds_are_found_by_their_names(void) {
    postern_kind kind;
    for (int i = 0; i < 16; i++)
        POSTERN_CHECK(postern_kind_of(postern_text(postern_kind_name((postern_kind)i)), &kind) && kind == (postern_kind)i);
    POSTERN_CHECK(!postern_kind_of(postern_text("NotFound"), &kind));
}

int main(void) {
    what_is_stored_is_found();
    failures_have_kind_message_and_details();
    text_goes_out_as_utf8();
    other_services_are_called_where_granted();
    streams_answer_each_message_until_the_caller_leaves();
    a_unary_method_is_a_stream_of_one();
    events_are_taken_and_published();
    interceptors_refuse_answer_and_change();
    callers_are_known_and_may_call();
    frames_are_changed_and_dropped();
    headers_of_a_frame_are_bounded();
    messages_of_a_text_handler_are_text();
    a_balancer_picks_what_is_usable();
    health_says_why();
    a_mark_gives_back_what_came_after_it();
    kinds_are_found_by_their_names();
    json_tests();
    capability_tests();
    return postern_fake_failed();
}
