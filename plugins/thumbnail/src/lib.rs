//! Makes small pictures of large ones.

mod picture;
mod size;

use postern_guest::{Octets, Result, call, config};

use crate::size::Size;

/// Pixels of a picture that is taken, unless `pixels-max` of the manifest says so: 20 megapixels of
/// 16 bits in four channels are 160 MB, and the manifest grants 256 MiB.
const PIXELS_MAX: u64 = 20_000_000;

struct Thumbnail;

/// Makes small pictures of large ones.
#[postern_guest::service]
impl Thumbnail {
    /// The picture, a PNG or a JPEG, in a size of at most `width` by `height`.
    #[method(idempotent)]
    fn make(picture: Octets) -> Result<Octets> {
        let size = match call::http() {
            Some(http) => Size::of_query(http.query.as_deref().unwrap_or_default())?,
            None => Size::of(
                call::header("width").as_deref(),
                call::header("height").as_deref(),
            )?,
        };
        let pixels_max = config::get("pixels-max")?.unwrap_or(PIXELS_MAX);
        let thumbnail = picture::shrink(&picture, size, pixels_max)?;
        call::add_header("content-type", thumbnail.media_type)?;
        Ok(Octets(thumbnail.octets))
    }
}

#[cfg(test)]
mod tests;
