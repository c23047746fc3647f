//! Pictures in octets. What a picture says of its size is held against the bounds before a pixel is
//! decoded.

use std::io::Cursor;

use image::{
    ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError,
    ImageFormat, ImageReader, Limits,
    codecs::{jpeg::JpegEncoder, png::PngEncoder},
    metadata::Orientation,
};
use postern_guest::{Failure, Result};

use crate::size::Size;

/// Longest side of a picture: what JPEG has room for.
const SIDE_MAX: u32 = 65_535;
/// Of a pixel of four channels, 16 bits each.
const PIXEL_BYTES_MAX: u64 = 8;
/// Octets that a decoder takes beside the picture itself: rows, texts, profiles.
const ASIDE_BYTES_MAX: u64 = 64 << 20;
/// Octets of a colour profile that goes on with the thumbnail: larger ones have tables for printers.
const PROFILE_BYTES_MAX: usize = 64 << 10;
/// Of a JPEG, where 100 is best.
const QUALITY: u8 = 85;

/// What is taken, and given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Png,
    Jpeg,
}

/// A small picture.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) media_type: &'static str,
    pub(crate) octets: Vec<u8>,
}

/// The picture in the size, upright, in the format that it came in, without what it says beside its
/// colours.
///
/// # Errors
/// `invalid-argument` when it is neither a PNG nor a JPEG, or a broken one, `out-of-range` when it has
/// more than `pixels_max` pixels.
pub(crate) fn shrink(octets: &[u8], size: Size, pixels_max: u64) -> Result<Encoded> {
    let format = format_of(octets)?;
    if format == Format::Png
        && let Some([width, height]) = said_by_png(octets)
    {
        check_pixels(width, height, pixels_max)?;
    }
    let mut reader = ImageReader::with_format(Cursor::new(octets), format.decoded());
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(SIDE_MAX);
    limits.max_image_height = Some(SIDE_MAX);
    // The decoder of PNG counts the picture itself as well.
    let picture_bytes_max = pixels_max.saturating_mul(PIXEL_BYTES_MAX);
    limits.max_alloc = Some(picture_bytes_max.saturating_add(ASIDE_BYTES_MAX));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(|error| broken(&error))?;
    let (width, height) = decoder.dimensions();
    check_pixels(width, height, pixels_max)?;
    // One that cannot be read says nothing.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let profile = decoder.icc_profile().ok().flatten();
    let profile = profile.filter(|profile| profile.len() <= PROFILE_BYTES_MAX);
    let picture = DynamicImage::from_decoder(decoder).map_err(|error| broken(&error))?;
    let size = match lies(orientation) {
        true => size.turned(),
        false => size,
    };
    let Size { width, height } = size.fitted(width, height);
    let is_as_large = (width, height) == (picture.width(), picture.height());
    let mut thumbnail = match is_as_large {
        true => picture,
        false => picture.thumbnail_exact(width, height),
    };
    thumbnail.apply_orientation(orientation);
    encode(&in_octets(thumbnail), format, profile)
}

/// Width and height that a PNG says of itself, in its first chunk.
fn said_by_png(octets: &[u8]) -> Option<[u32; 2]> {
    let head = octets.get(12..24)?.strip_prefix(b"IHDR")?;
    let (sides, _) = head.as_chunks::<4>();
    let mut sides = sides.iter().copied().map(u32::from_be_bytes);
    Some([sides.next()?, sides.next()?])
}

fn check_pixels(width: u32, height: u32, pixels_max: u64) -> Result<()> {
    let n_pixels = u64::from(width) * u64::from(height);
    if n_pixels <= pixels_max {
        return Ok(());
    }
    Err(Failure::out_of_range(format!(
        "{width} by {height} are {n_pixels} pixels, more than the limit of {pixels_max} (`pixels-max`)"
    )))
}

impl Format {
    const fn decoded(self) -> ImageFormat {
        match self {
            Self::Png => ImageFormat::Png,
            Self::Jpeg => ImageFormat::Jpeg,
        }
    }
}

/// Told by the content alone.
fn format_of(octets: &[u8]) -> Result<Format> {
    if octets.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Format::Png);
    }
    if octets.starts_with(&[0xff, 0xd8, 0xff]) {
        return Ok(Format::Jpeg);
    }
    let first: Vec<_> = octets
        .iter()
        .take(8)
        .map(|it| format!("{it:02x}"))
        .collect();
    Err(Failure::invalid_argument(match first.is_empty() {
        true => "there is no picture: send a PNG or a JPEG as the body".to_owned(),
        false => format!(
            "what begins with {} is neither a PNG nor a JPEG",
            first.join(" ")
        ),
    }))
}

fn broken(error: &ImageError) -> Failure {
    match error {
        ImageError::Limits(_) => Failure::out_of_range(format!(
            "the picture has a side of more than {SIDE_MAX} pixels, or more than {ASIDE_BYTES_MAX} octets beside its pixels"
        )),
        ImageError::Decoding(_)
        | ImageError::Encoding(_)
        | ImageError::Parameter(_)
        | ImageError::Unsupported(_)
        | ImageError::IoError(_) => {
            Failure::invalid_argument(format!("the picture is broken: {error}"))
        }
    }
}

/// Whether a picture is shown on its side.
fn lies(orientation: Orientation) -> bool {
    match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => true,
        Orientation::NoTransforms
        | Orientation::Rotate180
        | Orientation::FlipHorizontal
        | Orientation::FlipVertical => false,
    }
}

/// Eight bits for each channel: more are for those who work on a picture.
fn in_octets(picture: DynamicImage) -> DynamicImage {
    let color = picture.color();
    let n_channels = color.channel_count();
    match (color.bytes_per_pixel() > n_channels, n_channels) {
        (false, _) => picture,
        (true, 1) => picture.into_luma8().into(),
        (true, 2) => picture.into_luma_alpha8().into(),
        (true, 3) => picture.into_rgb8().into(),
        (true, _) => picture.into_rgba8().into(),
    }
}

fn encode(picture: &DynamicImage, format: Format, profile: Option<Vec<u8>>) -> Result<Encoded> {
    let mut octets = Vec::new();
    let (media_type, written) = match format {
        Format::Jpeg => {
            let encoder = JpegEncoder::new_with_quality(&mut octets, QUALITY);
            ("image/jpeg", write(encoder, picture, profile))
        }
        Format::Png => (
            "image/png",
            write(PngEncoder::new(&mut octets), picture, profile),
        ),
    };
    written.map_err(|error| Failure::internal(format!("no {media_type} of it: {error}")))?;
    Ok(Encoded { media_type, octets })
}

fn write(
    mut encoder: impl ImageEncoder,
    picture: &DynamicImage,
    profile: Option<Vec<u8>>,
) -> Result<(), ImageError> {
    if let Some(profile) = profile {
        encoder
            .set_icc_profile(profile)
            .map_err(ImageError::Unsupported)?;
    }
    let color: ColorType = picture.color();
    encoder.write_image(
        picture.as_bytes(),
        picture.width(),
        picture.height(),
        ExtendedColorType::from(color),
    )
}
