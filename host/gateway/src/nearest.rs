//! The name that was probably meant.

/// The name in `names` nearest to `wanted`, if it is near: at most a third of its letters differ.
#[must_use]
pub(crate) fn nearest<'a>(
    wanted: &str,
    names: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // The distance takes time in the product of both lengths, and a peer chooses `wanted`.
    if wanted.len() > WANTED_BYTES_MAX {
        return None;
    }
    let distances = names.into_iter().map(|name| (distance(wanted, name), name));
    let (distance, name) = distances.min()?;
    (distance <= name.chars().count().div_ceil(3)).then_some(name)
}

/// Insertions, deletions and replacements between the two (Levenshtein); letter case counts nothing.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().flat_map(char::to_lowercase).collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.chars().flat_map(char::to_lowercase).enumerate() {
        let mut diagonal = line;
        let mut left = line + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (b, above) in other.iter().zip(row.iter().skip(1)) {
            let replaced = diagonal + usize::from(a != *b);
            left = replaced.min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

const WANTED_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &str, expected: Option<&str>) {
        assert_eq!(
            nearest(wanted, ["users", "echo", "calculator"]),
            expected,
            "{wanted}"
        );
    }

    #[test]
    fn finds_the_name_with_a_slip_in_it() {
        check("user", Some("users"));
        check("usres", Some("users"));
        check("Users", Some("users"));
        check("calcualtor", Some("calculator"));
    }

    #[test]
    fn gives_no_name_that_is_far() {
        check("payments", None);
        check("", None);
        check(&"u".repeat(256), None);
    }

    #[test]
    fn a_third_of_the_letters_is_near_and_one_more_is_not() {
        check("usxx", None);
        check("usexx", Some("users"));
    }

    #[test]
    fn counts_edits_as_levenshtein_does() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", ""), 3);
    }
}
