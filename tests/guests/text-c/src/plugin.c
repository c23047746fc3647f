/* Plugin text-c takes and gives text, as a text handler. */
#include "postern.h"

static postern_result say(postern_slice method, postern_slice body) {
    (void)method;
    return postern_ok(body);
}

static postern_result break_it(postern_slice method, postern_slice body) {
    (void)method, (void)body;
    return postern_ok(postern_text("\xff"));
}

static postern_result fail(postern_slice method, postern_slice body) {
    (void)method, (void)body;
    postern_result added = postern_add_header("x-own", postern_text("kept"));
    return added.failed ? added : postern_fail(POSTERN_NOT_FOUND, "nothing");
}

static const postern_method methods[] = {
    {.name = "Say", .unary = say, .idempotent = true},
    {.name = "BreakIt", .unary = break_it},
    {.name = "Fail", .unary = fail},
};
static const postern_service service = {"text-c", "0.1.0", "Takes and gives text.", methods, 3};

POSTERN_SERVICE(service)
POSTERN_TEXT_HANDLER
