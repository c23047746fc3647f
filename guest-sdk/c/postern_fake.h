/* A gateway for unit tests. Natively compiled, postern.h speaks to it. A test is a program:
 *
 *     int main(void) {
 *         postern_fake_begin();
 *         postern_fake_config("word", "Ahoy");
 *         POSTERN_CHECK_TEXT(postern_fake_call("Greet", "{\"name\":\"Ada\"}"), "{\"text\":\"Ahoy, Ada!\"}");
 *         return postern_fake_failed();
 *     }
 *
 * It keeps the limits that the gateway has for keys, values and headers. What it gives is valid until the next
 * `postern_fake_begin`. Tables have 64 entries, and a test that needs more ends with a line that says so. */
#ifndef POSTERN_FAKE_H
#define POSTERN_FAKE_H

#include "postern.h"

/* Begins with an empty gateway. */
void postern_fake_begin(void);
/* How many checks have failed, for `main` to return: 0 or 1. */
int postern_fake_failed(void);

/* ---- What the gateway knows ---- */

void postern_fake_config(const char *key, const char *value);
void postern_fake_header(const char *name, const char *value);
void postern_fake_trailer(const char *name, const char *value);
void postern_fake_http(postern_http_info info);
void postern_fake_principal(const char *name);
void postern_fake_claim(const char *name, const char *value);
void postern_fake_remaining_ms(uint64_t remaining);
void postern_fake_log_level(postern_level level);
/* Answers calls of another service, which is granted thereby. A failure has a kind other than NULL. */
void postern_fake_answer(const char *service, const char *method, const char *reply);
void postern_fake_answer_failure(const char *service, const char *method, postern_kind kind, const char *message);
void postern_fake_topic(const char *topic, uint32_t n_subscribers);
void postern_fake_kv_set(const char *key, const char *value);
/* NULL where there is none. */
const char *postern_fake_kv(const char *key);
/* Every use of the store fails so. */
void postern_fake_fail_kv(postern_kind kind, const char *message);
/* The caller of streams leaves once it has got so many messages. */
void postern_fake_leave_after(size_t n_messages);
void postern_fake_usable(uint32_t index, bool is_usable);
/* Says who answers for a service, which is granted thereby. What it points to is the test's. */
void postern_fake_service(const char *service, const postern_service_instance *instances, size_t n_instances);
/* What `postern_random` counts up from. */
void postern_fake_random(uint64_t from);

/* ---- Entering the plugin ---- */

postern_result postern_fake_call(const char *method, const char *message);
postern_result postern_fake_call_octets(const char *method, postern_slice message);
/* `messages` ends with NULL. */
postern_result postern_fake_stream(const char *method, const char *const *messages);
/* `content_type` may be NULL. */
postern_result postern_fake_event(const char *topic, const char *content_type, const char *payload);
postern_result postern_fake_authenticate(const char *scheme, const char *token, bool *known, postern_identity *identity);
postern_result postern_fake_authorize(const char *service, const char *method);
/* Whether the plugin handles the frame, with what `postern_fake_header` has set, and what it makes of it. */
bool postern_fake_frame(postern_frame_head head, const char *payload, bool *drop, postern_result *result);
void postern_fake_update(const postern_instance *instances, size_t n_instances);
int64_t postern_fake_pick(uint64_t key);
void postern_fake_done(uint32_t index, postern_outcome outcome, uint64_t micros);
postern_status postern_fake_check(postern_slice *why);
/* Begins a call that interceptors see, with what `postern_fake_header` has set. */
void postern_fake_request(const char *service, const char *method, const char *payload);
postern_result postern_fake_on_request(postern_action *action);
/* The call has ended with a reply, or failed. */
postern_result postern_fake_on_response(postern_result outcome, uint64_t micros);

/* ---- What became of it ---- */

/* Of the last call: 200 unless set. */
uint16_t postern_fake_reply_status(void);
bool postern_fake_replies_octets(void);
/* Empty where there is none. */
postern_slice postern_fake_reply_header(const char *name);
postern_slice postern_fake_reply_trailer(const char *name);
size_t postern_fake_n_sent(void);
postern_slice postern_fake_sent(size_t index);
/* How many lines of the log have that text in them. */
size_t postern_fake_n_logged(const char *text);
/* What was published last of that topic, and what was sent last to a service; empty for nothing. */
postern_slice postern_fake_published(const char *topic);
postern_slice postern_fake_called(const char *service, const char *method);
/* The value of a counter or a gauge, of a histogram the sum, and how often it was changed. `n_changes` may be NULL. */
double postern_fake_metric(const char *name, const postern_field *labels, size_t n_labels, size_t *n_changes);
/* The request as it goes on, and what the caller gets. */
postern_slice postern_fake_request_header(const char *name);
postern_slice postern_fake_request_payload(void);
postern_slice postern_fake_frame_header(const char *name);
postern_slice postern_fake_frame_payload(void);
postern_slice postern_fake_response_header(const char *name);
postern_result postern_fake_response(void);

/* ---- Checks: each that fails is told with its line ---- */

#define POSTERN_CHECK(claim) postern_fake_check_(claim, __FILE__, __LINE__, __func__, #claim)
#define POSTERN_CHECK_TEXT(result, text) postern_fake_check_text_(result, text, __FILE__, __LINE__, __func__, #result)
#define POSTERN_CHECK_FAILS(result, kind) postern_fake_check_fails_(result, kind, __FILE__, __LINE__, __func__, #result)

void postern_fake_check_(bool holds, const char *file, int line, const char *function, const char *claim);
void postern_fake_check_text_(postern_result result, const char *text, const char *file, int line, const char *function, const char *claim);
void postern_fake_check_fails_(postern_result result, postern_kind kind, const char *file, int line, const char *function, const char *claim);

#endif
