//! Numbers from keys and from chance, the same on every machine and in every version: gateways that
//! share no state agree on the member of a key.
//!
//! `hash` is FNV-1a, 64 bits (draft-eastlake-fnv, offset basis `cbf29ce484222325`, prime
//! `100000001b3`), followed by `mix`, because the upper bits of FNV-1a change little between keys
//! that differ in their last octets. `mix` is the finaliser of SplitMix64 (Steele, Lea, Flood
//! 2014): a bijection in which every bit of the input reaches every bit of the output. Neither is
//! for secrets: a peer can construct keys that meet.

const FNV_OFFSET: u64 = 0xCBF2_9CE4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01B3;
/// 2^64 divided by the golden ratio: steps of this size are spread over all numbers.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// The key of `octets`: a header's value, a field, an address.
#[must_use]
pub fn hash(octets: &[u8]) -> u64 {
    mix(fnv1a(octets))
}

/// Spreads `number` over all 64 bits. Different numbers stay different.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    number ^ (number >> 31)
}

/// The `step`th number that follows from `number`, as if drawn anew.
pub(super) const fn nth(number: u64, step: u64) -> u64 {
    mix(number.wrapping_add(step.wrapping_mul(GOLDEN)))
}

/// Maps a number that is even over 64 bits to one below `bound` (Lemire 2019); 0 when `bound` is 0.
/// The unevenness is at most `bound` / 2^64.
pub(super) const fn below(number: u64, bound: u64) -> u64 {
    ((number as u128 * bound as u128) >> 64) as u64
}

/// As `below`, for places in a list.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the result is below a usize"
)]
pub(super) const fn place(number: u64, length: usize) -> usize {
    below(number, length as u64) as usize
}

fn fnv1a(octets: &[u8]) -> u64 {
    octets.iter().fold(FNV_OFFSET, |hash, octet| {
        (hash ^ u64::from(*octet)).wrapping_mul(FNV_PRIME)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fnv1a_gives_the_published_numbers() {
        // draft-eastlake-fnv, appendix "Test Vectors".
        assert_eq!(fnv1a(b""), 0xCBF2_9CE4_8422_2325);
        assert_eq!(fnv1a(b"a"), 0xAF63_DC4C_8601_EC8C);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_F739_67E8);
    }

    #[test]
    fn mix_gives_the_published_numbers() {
        // SplitMix64 seeded with 1234567, as Rosetta Code and the Java library list it.
        let numbers = [1, 2, 3].map(|step| nth(1_234_567, step));
        let expected = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
        ];
        assert_eq!(numbers, expected);
    }

    #[test]
    fn hash_never_changes() {
        // What gateways of different versions must agree on; a changed number moves every key.
        let keys: [&[u8]; 3] = [b"", b"user-1", b"user-2"];
        let expected = [
            0xF52A_15E9_A9B5_E89B,
            0xC499_B5F8_A721_DF58,
            0x4FB3_8F41_4590_A87B,
        ];
        assert_eq!(keys.map(hash), expected);
    }

    #[test]
    fn keys_that_differ_in_the_last_octet_fall_far_apart() {
        let mut counts = [0_u32; 8];
        for n in 0..8000 {
            let key = format!("user-{n}");
            counts[place(hash(key.as_bytes()), 8)] += 1;
        }
        println!("balance hash: 8000 keys over 8 places: {counts:?}");
        assert!(counts.iter().all(|count| (900..1100).contains(count)));
    }

    #[test]
    fn below_stays_below() {
        assert_eq!(below(u64::MAX, 0), 0);
        assert_eq!(below(u64::MAX, 1), 0);
        assert_eq!(below(0, 7), 0);
        assert_eq!(below(u64::MAX, 7), 6);
        assert_eq!(below(u64::MAX, u64::MAX), u64::MAX - 1);
    }
}
