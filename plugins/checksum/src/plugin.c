/* The service `checksum` over digest.c: a message, or a stream of any length, and what it sums up to. */
#include "postern.h"

#include "digest.h"

#include <inttypes.h>

static postern_slice hex_of(const uint8_t *octets, size_t length) {
    static const char digits[] = "0123456789abcdef";
    char *text = postern_alloc(2 * length + 1);
    for (size_t i = 0; i < length; i++) {
        text[2 * i] = digits[octets[i] >> 4];
        text[2 * i + 1] = digits[octets[i] & 15];
    }
    text[2 * length] = 0;
    return (postern_slice){text, 2 * length};
}

static postern_result crc32_reply(uint32_t crc, uint64_t n_bytes) {
    return postern_ok(postern_format("{\"algorithm\":\"crc32\",\"bytes\":%" PRIu64 ",\"hex\":\"%08" PRIx32 "\"}", n_bytes, crc));
}

static postern_result sha256_reply(struct sha256 *sha) {
    uint8_t digest[SHA256_BYTES];
    uint64_t n_bytes = sha->n_bytes;
    sha256_end(sha, digest);
    return postern_ok(postern_format("{\"algorithm\":\"sha256\",\"bytes\":%" PRIu64 ",\"hex\":\"%s\"}", n_bytes,
                                     hex_of(digest, sizeof digest).at));
}

static postern_result crc32(postern_slice method, postern_slice body) {
    (void)method;
    return crc32_reply(crc32_add(0, (const uint8_t *)body.at, body.length), body.length);
}

static postern_result sha256(postern_slice method, postern_slice body) {
    (void)method;
    struct sha256 sha;
    sha256_begin(&sha);
    sha256_add(&sha, (const uint8_t *)body.at, body.length);
    return sha256_reply(&sha);
}

/* Both at once would cost the time of both. */
static postern_result stream(postern_slice method) {
    (void)method;
    postern_slice algorithm = postern_text("sha256");
    postern_header("x-algorithm", &algorithm);
    bool is_crc32 = postern_equals(algorithm, "crc32");
    if (!is_crc32 && !postern_equals(algorithm, "sha256"))
        return postern_fail(POSTERN_INVALID_ARGUMENT, "x-algorithm `%.*s` is neither sha256 nor crc32", (int)algorithm.length, algorithm.at);
    struct sha256 sha;
    uint32_t crc = 0;
    uint64_t n_bytes = 0;
    sha256_begin(&sha);
    for (bool more;;) {
        postern_result message = postern_next(&more);
        if (message.failed)
            return message;
        if (!more)
            break;
        const uint8_t *octets = (const uint8_t *)message.value.at;
        n_bytes += message.value.length;
        if (is_crc32)
            crc = crc32_add(crc, octets, message.value.length);
        else
            sha256_add(&sha, octets, message.value.length);
    }
    postern_result reply = is_crc32 ? crc32_reply(crc, n_bytes) : sha256_reply(&sha);
    return postern_send(reply.value);
}

static const char checksum_schema[] =
    "{\"type\":\"object\",\"required\":[\"algorithm\",\"bytes\",\"hex\"],\"properties\":{"
    "\"algorithm\":{\"enum\":[\"crc32\",\"sha256\"]},\"bytes\":{\"type\":\"integer\",\"minimum\":0},"
    "\"hex\":{\"type\":\"string\",\"pattern\":\"^[0-9a-f]+$\"}}}";

static const postern_method methods[] = {
    {.name = "Crc32", .summary = "Sums a message up by CRC-32.", .unary = crc32, .idempotent = true,
     .request = "Octets", .response = "Checksum", .response_schema = checksum_schema},
    {.name = "Sha256", .summary = "Sums a message up by SHA-256.", .unary = sha256, .idempotent = true,
     .request = "Octets", .response = "Checksum", .response_schema = checksum_schema},
    {.name = "Stream", .summary = "Sums up what comes, by the header x-algorithm: sha256 or crc32.",
     .shape = POSTERN_CLIENT_STREAM, .stream = stream, .idempotent = true,
     .request = "Octets", .response = "Checksum", .response_schema = checksum_schema},
};

static const postern_service service = {
    .name = "checksum",
    .version = "0.1.0",
    .summary = "Sums messages and streams up by CRC-32 and SHA-256.",
    .methods = methods,
    .n_methods = sizeof methods / sizeof methods[0],
};

POSTERN_SERVICE(service)
POSTERN_HANDLER
POSTERN_STREAM_HANDLER
