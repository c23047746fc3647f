//! How large a thumbnail may be.

use postern_guest::{Failure, Result};

/// Largest width and height that are asked for.
pub(crate) const SIDE_MAX: u32 = 2_048;
/// Width and height where nothing is asked for.
const SIDE: u32 = 256;

/// Pixels that a thumbnail has at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Size {
    pub(crate) width: u32,
    pub(crate) height: u32,
}

impl Size {
    /// As `width=..&height=..` says.
    ///
    /// # Errors
    /// `invalid-argument` for another name, one that is there twice, and a value that is no size.
    pub(crate) fn of_query(query: &str) -> Result<Self> {
        let (mut width, mut height) = (None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let side = match name {
                "width" => &mut width,
                "height" => &mut height,
                _ => {
                    return Err(Failure::invalid_argument(format!(
                        "the query's `{name}` is neither `width` nor `height`"
                    )));
                }
            };
            if side.replace(value).is_some() {
                return Err(Failure::invalid_argument(format!(
                    "the query has `{name}` twice"
                )));
            }
        }
        Self::of(width, height)
    }

    /// Where one side is not said, only the other bounds the thumbnail.
    ///
    /// # Errors
    /// `invalid-argument` for what is not 1 to `SIDE_MAX`.
    pub(crate) fn of(width: Option<&str>, height: Option<&str>) -> Result<Self> {
        let unsaid = match (width, height) {
            (None, None) => SIDE,
            (Some(_), _) | (None, Some(_)) => SIDE_MAX,
        };
        Ok(Self {
            width: side("width", width, unsaid)?,
            height: side("height", height, unsaid)?,
        })
    }

    /// The size of a picture of `width` by `height` when it fits, in its own proportions. A picture that
    /// fits is not made larger.
    pub(crate) fn fitted(self, width: u32, height: u32) -> Self {
        if width <= self.width && height <= self.height {
            return Self { width, height };
        }
        let [w, h] = [width, height].map(u64::from);
        let [to_w, to_h] = [self.width, self.height].map(u64::from);
        let scaled = |length: u64, to: u64, of: u64| {
            let rounded = (length * to + of / 2) / of;
            // Not more than the length was, which is a `u32`.
            u32::try_from(rounded).unwrap_or(u32::MAX).max(1)
        };
        match to_w * h <= to_h * w {
            true => Self {
                width: self.width,
                height: scaled(h, to_w, w),
            },
            false => Self {
                width: scaled(w, to_h, h),
                height: self.height,
            },
        }
    }

    /// Width for height.
    pub(crate) fn turned(self) -> Self {
        Self {
            width: self.height,
            height: self.width,
        }
    }
}

fn side(name: &str, text: Option<&str>, unsaid: u32) -> Result<u32> {
    let Some(text) = text else {
        return Ok(unsaid);
    };
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=SIDE_MAX).contains(number));
    number.ok_or_else(|| {
        Failure::invalid_argument(format!("{name} `{text}` is no number of 1 to {SIDE_MAX}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn a_size_is_read_from_the_query() {
        let check = |query: &str, expected: Size| {
            assert_eq!(Size::of_query(query), Ok(expected), "{query}");
        };
        check("", size(256, 256));
        check("width=100", size(100, 2_048));
        check("height=100", size(2_048, 100));
        check("width=1&height=2048", size(1, 2_048));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        let check = |query: &str, expected: &str| {
            let failure = Size::of_query(query).unwrap_err();
            assert_eq!(failure, Failure::invalid_argument(expected), "{query}");
        };
        check("width=0", "width `0` is no number of 1 to 2048");
        check("height=2049", "height `2049` is no number of 1 to 2048");
        check("width=many", "width `many` is no number of 1 to 2048");
        check("width", "width `` is no number of 1 to 2048");
        check("width=1&width=2", "the query has `width` twice");
        check("w=1", "the query's `w` is neither `width` nor `height`");
    }

    #[test]
    fn a_picture_keeps_its_proportions_and_is_never_made_larger() {
        let check = |width, height, expected: Size| {
            assert_eq!(size(100, 50).fitted(width, height), expected);
        };
        check(100, 50, size(100, 50));
        check(10, 5, size(10, 5));
        check(1_000, 500, size(100, 50));
        check(1_000, 1_000, size(50, 50));
        check(1_000, 100, size(100, 10));
        check(101, 50, size(100, 50));
        check(65_535, 1, size(100, 1));
        check(1, 65_535, size(1, 50));
    }
}
