/* CRC-32 (ISO-HDLC, as in zlib) and SHA-256 (FIPS 180-4), a piece at a time. Pure. */
#ifndef DIGEST_H
#define DIGEST_H

#include <stddef.h>
#include <stdint.h>

enum {
    SHA256_BYTES = 32,
    SHA256_BLOCK_BYTES = 64,
};

struct sha256 {
    uint32_t state[8];
    uint64_t n_bytes;
    /* Of the block that is not full: its first `n_bytes % 64` octets. */
    uint8_t block[SHA256_BLOCK_BYTES];
};

/* Begins with 0. */
uint32_t crc32_add(uint32_t crc, const uint8_t *octets, size_t length);

void sha256_begin(struct sha256 *sha);
void sha256_add(struct sha256 *sha, const uint8_t *octets, size_t length);
void sha256_end(struct sha256 *sha, uint8_t digest[SHA256_BYTES]);

#endif
