/* Tests of the service against a fake host. They say nothing when all is well. */
#include "postern_fake.h"

#include "../src/digest.h"

#include <string.h>

/* The checks of the catalogue of CRC algorithms, and the examples of FIPS 180-4. */
static void known_messages_have_known_sums(void) {
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_fake_call("Crc32", "123456789"), "{\"algorithm\":\"crc32\",\"bytes\":9,\"hex\":\"cbf43926\"}");
    POSTERN_CHECK_TEXT(postern_fake_call("Crc32", ""), "{\"algorithm\":\"crc32\",\"bytes\":0,\"hex\":\"00000000\"}");
    POSTERN_CHECK_TEXT(postern_fake_call("Sha256", "abc"),
                       "{\"algorithm\":\"sha256\",\"bytes\":3,\"hex\":"
                       "\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"}");
    POSTERN_CHECK_TEXT(postern_fake_call("Sha256", "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
                       "{\"algorithm\":\"sha256\",\"bytes\":56,\"hex\":"
                       "\"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1\"}");
    POSTERN_CHECK_TEXT(postern_fake_call("Sha256", ""),
                       "{\"algorithm\":\"sha256\",\"bytes\":0,\"hex\":"
                       "\"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\"}");
}

static void a_sum_does_not_depend_on_the_pieces(void) {
    uint8_t octets[300], whole[SHA256_BYTES], pieces[SHA256_BYTES];
    struct sha256 sha;
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (uint8_t)(i * 7);
    for (size_t length = 0; length <= sizeof octets; length++) {
        sha256_begin(&sha);
        sha256_add(&sha, octets, length);
        sha256_end(&sha, whole);
        sha256_begin(&sha);
        for (size_t at = 0; at < length; at += 13)
            sha256_add(&sha, octets + at, length - at < 13 ? length - at : 13);
        sha256_end(&sha, pieces);
        POSTERN_CHECK(memcmp(whole, pieces, sizeof whole) == 0);
        uint32_t crc = crc32_add(crc32_add(0, octets, length / 3), octets + length / 3, length - length / 3);
        POSTERN_CHECK(crc == crc32_add(0, octets, length));
    }
}

static void streams_are_summed_up_as_one_message(void) {
    const char *const messages[] = {"1234", "", "56789", NULL};
    postern_fake_begin();
    POSTERN_CHECK_TEXT(postern_fake_stream("Stream", messages), "");
    POSTERN_CHECK(postern_equals(postern_fake_sent(0), "{\"algorithm\":\"sha256\",\"bytes\":9,\"hex\":"
                                                       "\"15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225\"}"));
    postern_fake_header("x-algorithm", "crc32");
    POSTERN_CHECK_TEXT(postern_fake_stream("Stream", messages), "");
    POSTERN_CHECK(postern_equals(postern_fake_sent(0), "{\"algorithm\":\"crc32\",\"bytes\":9,\"hex\":\"cbf43926\"}"));
}

static void another_algorithm_is_refused(void) {
    const char *const none[] = {NULL};
    postern_fake_begin();
    postern_fake_header("x-algorithm", "md5");
    POSTERN_CHECK_FAILS(postern_fake_stream("Stream", none), POSTERN_INVALID_ARGUMENT);
}

int main(void) {
    known_messages_have_known_sums();
    a_sum_does_not_depend_on_the_pieces();
    streams_are_summed_up_as_one_message();
    another_algorithm_is_refused();
    return postern_fake_failed();
}
