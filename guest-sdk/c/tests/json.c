/* Tests of the JSON functions; `main` stands in sdk.c. */
#include "postern_fake.h"

#include <string.h>

void json_tests(void);

static void valid_json_is_told_from_other_text(void) {
    static const char *const valid[] = {
        "null", " true ", "-0.5e+3", "\"a\\u00e9\\n\"", "[]", "{ }", "[1, [2, {\"a\" : {}}]]\n", "{\"a\":1,\"b\":[null]}",
    };
    static const char *const invalid[] = {
        "", " ", "nul", "01", "1.", "-", "1e", "\"", "\"\\x\"", "\"\\u12g4\"", "\"\n\"", "[1,]", "[1 2]", "[", "{\"a\"}",
        "{\"a\":}", "{a:1}", "{\"a\":1,}", "1 2", "[1}", "+1", "{\"a\":1]",
    };
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++)
        POSTERN_CHECK(postern_json_valid(postern_text(valid[i])));
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++)
        POSTERN_CHECK(!postern_json_valid(postern_text(invalid[i])));
}

static void strings_are_utf8(void) {
    static const char *const valid[] = {"\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xed\x9f\xbf", "\xf0\x9f\x98\x80", "\xf4\x8f\xbf\xbf"};
    static const char *const invalid[] = {
        "\xff", "\x80", "\xc3", "\xc0\x80", "\xe2\x82", "\xe0\x80\x80", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80",
    };
    postern_slice text;
    for (size_t i = 0; i < sizeof valid / sizeof *valid; i++) {
        postern_slice json = postern_format("\"a%sb\"", valid[i]);
        POSTERN_CHECK(postern_json_valid(json) && postern_json_string(json, &text));
        POSTERN_CHECK(postern_utf8(text).at == text.at);
    }
    for (size_t i = 0; i < sizeof invalid / sizeof *invalid; i++) {
        postern_slice json = postern_format("\"a%s\"", invalid[i]);
        POSTERN_CHECK(!postern_json_valid(json) && !postern_json_string(json, &text));
        POSTERN_CHECK(!postern_json_valid(postern_format("{%.*s:1}", (int)json.length, json.at)));
    }
    POSTERN_CHECK(postern_equals(postern_utf8(postern_text("a\xc3\xa9\xff\xf0\x9f\x98z")), "a\xc3\xa9\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbdz"));
    POSTERN_CHECK(postern_utf8((postern_slice){0}).length == 0);
}

static void depth_is_bounded(void) {
    char deep[132];
    for (int depth = 64; depth <= 65; depth++) {
        memset(deep, '[', (size_t)depth);
        memset(deep + depth, ']', (size_t)depth);
        POSTERN_CHECK(postern_json_valid((postern_slice){deep, 2 * (size_t)depth}) == (depth == 64));
    }
}

static void no_prefix_of_a_value_is_read_beyond_its_end(void) {
    const char *text = "{\"a\":[1,\"\\ud83d\\ude00\",true],\"b\":-1.5e3}";
    for (size_t length = 0; length < strlen(text); length++) {
        postern_slice part = postern_copy((postern_slice){text, length}), value;
        POSTERN_CHECK(!postern_json_valid(part));
        postern_json_get(part, "b", &value);
        postern_json_string(part, &value);
    }
}

static void keys_are_found(void) {
    postern_slice object = postern_text(" {\"a\":1, \"b\" : {\"a\":2}, \"\\u0063\":[3], \"a\": \"last\"} "), value;
    POSTERN_CHECK(postern_json_get(object, "b", &value) && postern_equals(value, "{\"a\":2}"));
    POSTERN_CHECK(postern_json_get(object, "c", &value) && postern_equals(value, "[3]"));
    POSTERN_CHECK(postern_json_get(object, "a", &value) && postern_equals(value, "\"last\""));
    POSTERN_CHECK(!postern_json_get(object, "d", &value));
    POSTERN_CHECK(!postern_json_get(postern_text("{}"), "a", &value));
    POSTERN_CHECK(!postern_json_get(postern_text("[\"a\"]"), "a", &value));
}

static void items_come_in_order(void) {
    postern_slice array = postern_text("[1 , \"b\",[ ] ]"), item;
    size_t cursor = 0;
    POSTERN_CHECK(postern_json_next(array, &cursor, &item) && postern_equals(item, "1"));
    POSTERN_CHECK(postern_json_next(array, &cursor, &item) && postern_equals(item, "\"b\""));
    POSTERN_CHECK(postern_json_next(array, &cursor, &item) && postern_equals(item, "[ ]"));
    POSTERN_CHECK(!postern_json_next(array, &cursor, &item));
    POSTERN_CHECK(!postern_json_next(array, &cursor, &item));
    cursor = 0;
    POSTERN_CHECK(!postern_json_next(postern_text(" []"), &cursor, &item));
}

static void strings_are_unescaped(void) {
    postern_slice text;
    POSTERN_CHECK(postern_json_string(postern_text(" \"plain\" "), &text) && postern_equals(text, "plain"));
    POSTERN_CHECK(postern_json_string(postern_text("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""), &text) && postern_equals(text, "\"\\/\b\f\n\r\t"));
    POSTERN_CHECK(postern_json_string(postern_text("\"\\u0041\\u00e9\\u20ac\\ud83d\\ude00\""), &text) && postern_equals(text, "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
    POSTERN_CHECK(postern_json_string(postern_text("\"\\ud83dx\\ude00\""), &text) && postern_equals(text, "\xef\xbf\xbdx\xef\xbf\xbd"));
    POSTERN_CHECK(!postern_json_string(postern_text("1"), &text));
}

static void text_is_quoted(void) {
    POSTERN_CHECK(postern_equals(postern_json_quote(postern_text("a\"\\\n\x1f\xc3\xa9")), "\"a\\\"\\\\\\u000a\\u001f\xc3\xa9\""));
    POSTERN_CHECK(postern_equals(postern_json_quote(postern_text("\xff\xc0\x80\xed\xa0\x80")),
                                 "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""));
}

static void numbers_are_exact_or_refused(void) {
    int64_t number;
    double real;
    bool flag;
    POSTERN_CHECK(postern_json_int(postern_text(" -9223372036854775808 "), &number) && number == INT64_MIN);
    POSTERN_CHECK(postern_json_int(postern_text("9223372036854775807"), &number) && number == INT64_MAX);
    POSTERN_CHECK(!postern_json_int(postern_text("9223372036854775808"), &number));
    POSTERN_CHECK(!postern_json_int(postern_text("1.0"), &number));
    POSTERN_CHECK(!postern_json_int(postern_text("\"1\""), &number));
    POSTERN_CHECK(postern_json_double(postern_text("-1.5e3"), &real) && real == -1500);
    POSTERN_CHECK(postern_json_bool(postern_text("true"), &flag) && flag);
    POSTERN_CHECK(postern_json_bool(postern_text("false"), &flag) && !flag);
    POSTERN_CHECK(!postern_json_bool(postern_text("1"), &flag));
    POSTERN_CHECK(postern_json_is_null(postern_text(" null")) && !postern_json_is_null(postern_text("0")));
}

void json_tests(void) {
    valid_json_is_told_from_other_text();
    strings_are_utf8();
    depth_is_bounded();
    no_prefix_of_a_value_is_read_beyond_its_end();
    keys_are_found();
    items_come_in_order();
    strings_are_unescaped();
    text_is_quoted();
    numbers_are_exact_or_refused();
}
