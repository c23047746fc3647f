//! Quantiles of what is counted in buckets, whatever their edges are. Pure.

/// The bucket that holds the `quantile` (0 to 1) of all that `counts` has, each the count of one bucket; `None`
/// without any.
#[must_use]
pub fn bucket_with(counts: &[u64], quantile: f64) -> Option<usize> {
    let count: u64 = counts.iter().sum();
    if count == 0 {
        return None;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a rank between 1 and the count"
    )]
    let rank = ((count as f64 * quantile).ceil() as u64).clamp(1, count);
    let mut seen = 0;
    counts.iter().position(|n| {
        seen += n;
        seen >= rank
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_lies_where_as_many_are_at_or_below() {
        for (counts, quantile, expected) in [
            (&[][..], 0.5, None),
            (&[0, 0], 0.5, None),
            (&[1, 1, 1], 0.5, Some(1)),
            (&[2, 2], 0.5, Some(0)),
            (&[99, 1], 0.99, Some(0)),
            (&[98, 2], 0.99, Some(1)),
            (&[0, 5, 0], 0.0, Some(1)),
            (&[1, 0, 1], 1.0, Some(2)),
        ] {
            assert_eq!(
                bucket_with(counts, quantile),
                expected,
                "{counts:?} {quantile}"
            );
        }
    }
}
