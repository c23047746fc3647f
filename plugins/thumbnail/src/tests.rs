use std::io::Cursor;

use image::{
    DynamicImage, ExtendedColorType, GenericImageView as _, ImageEncoder as _, ImageFormat, Rgb,
    RgbImage, Rgba, Rgba32FImage, RgbaImage, codecs::jpeg::JpegEncoder,
};
use postern_guest::{Failure, Kind, Octets, call::Http, fake::Host};

use crate::Thumbnail;

/// Left half red, right half blue.
fn halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| match x < width / 2 {
        true => Rgb([255, 0, 0]),
        false => Rgb([0, 0, 255]),
    })
}

fn encoded(picture: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut octets = Cursor::new(Vec::new());
    let written = picture.into().write_to(&mut octets, format);
    written.expect("it has such a form");
    octets.into_inner()
}

/// A request `POST /thumbnail?QUERY`.
fn post(host: &Host, query: &str, picture: Vec<u8>) -> Result<Octets, Failure> {
    host.http(Http {
        method: "POST".to_owned(),
        path: "/thumbnail".to_owned(),
        query: Some(query.to_owned()),
        ..Http::default()
    });
    host.call::<Thumbnail>("Make", Octets(picture))
}

#[track_caller]
fn decoded(octets: &[u8], format: ImageFormat) -> DynamicImage {
    assert_eq!(image::guess_format(octets).ok(), Some(format));
    image::load_from_memory(octets).expect("a picture")
}

#[track_caller]
fn is_near(picture: &DynamicImage, x: u32, y: u32, expected: [u8; 3]) {
    let Rgba([r, g, b, _]) = picture.get_pixel(x, y);
    let is_near = [r, g, b]
        .iter()
        .zip(expected)
        .all(|(a, b)| a.abs_diff(b) < 16);
    assert!(
        is_near,
        "{:?} at {x}, {y}, expected {expected:?}",
        [r, g, b]
    );
}

/// A PNG that says another size of itself, and has nothing of it.
fn png_of(width: u32, height: u32) -> Vec<u8> {
    deep_png_of(width, height, [8, 2])
}

/// The same with another depth and type of colours.
fn deep_png_of(width: u32, height: u32, colors: [u8; 2]) -> Vec<u8> {
    let mut png = encoded(halves(2, 1), ImageFormat::Png);
    png[24..26].copy_from_slice(&colors);
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc32(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

fn crc32(octets: &[u8]) -> u32 {
    let of_octet = |crc: u32, octet: &u8| {
        (0..8).fold(crc ^ u32::from(*octet), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1))
        })
    };
    !octets.iter().fold(u32::MAX, of_octet)
}

#[test]
fn a_picture_is_made_as_small_as_it_is_asked_for_and_keeps_its_format() {
    for (format, media_type) in [
        (ImageFormat::Png, "image/png"),
        (ImageFormat::Jpeg, "image/jpeg"),
    ] {
        let host = Host::new();
        let picture = encoded(halves(600, 400), format);
        let reply = post(&host, "width=60&height=60", picture).expect("made");
        let thumbnail = decoded(&reply, format);
        assert_eq!(thumbnail.dimensions(), (60, 40));
        is_near(&thumbnail, 10, 20, [255, 0, 0]);
        is_near(&thumbnail, 50, 20, [0, 0, 255]);
        let headers = host.reply_headers();
        assert_eq!(
            headers,
            [("content-type".to_owned(), media_type.to_owned())]
        );
    }
}

#[test]
fn a_small_picture_stays_as_large_as_it_is() {
    let host = Host::new();
    let reply = post(&host, "", encoded(halves(20, 10), ImageFormat::Png)).expect("made");
    assert_eq!(decoded(&reply, ImageFormat::Png).dimensions(), (20, 10));
}

#[test]
fn without_http_the_size_is_in_headers_of_the_call() {
    let host = Host::new();
    host.header("width", "30");
    let picture = encoded(halves(600, 400), ImageFormat::Png);
    let reply = host
        .call::<Thumbnail>("Make", Octets(picture))
        .expect("made");
    assert_eq!(decoded(&reply, ImageFormat::Png).dimensions(), (30, 20));
}

#[test]
fn what_is_transparent_stays_so_and_sixteen_bits_become_eight() {
    let host = Host::new();
    let picture = RgbaImage::from_pixel(300, 300, Rgba([10, 20, 30, 40]));
    let reply = post(&host, "width=10", encoded(picture, ImageFormat::Png)).expect("made");
    let thumbnail = decoded(&reply, ImageFormat::Png);
    assert_eq!(thumbnail.get_pixel(5, 5), Rgba([10, 20, 30, 40]));

    let picture = Rgba32FImage::from_pixel(300, 300, Rgba([1.0, 0.0, 0.0, 1.0]));
    let picture = DynamicImage::from(picture).into_rgba16();
    let reply = post(&host, "width=10", encoded(picture, ImageFormat::Png)).expect("made");
    let thumbnail = decoded(&reply, ImageFormat::Png);
    assert_eq!(thumbnail.color(), image::ColorType::Rgba8);
    assert_eq!(thumbnail.get_pixel(5, 5), Rgba([255, 0, 0, 255]));
}

#[test]
fn a_photo_that_lies_on_its_side_is_put_upright() {
    // Exif: one entry, orientation 6, to be turned clockwise by a quarter.
    let exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0";
    let mut octets = Vec::new();
    let mut encoder = JpegEncoder::new(&mut octets);
    encoder.set_exif_metadata(exif.to_vec()).expect("taken");
    let picture = halves(600, 400);
    let written = encoder.write_image(picture.as_raw(), 600, 400, ExtendedColorType::Rgb8);
    written.expect("written");
    let reply = post(&Host::new(), "width=40&height=2048", octets).expect("made");
    let thumbnail = decoded(&reply, ImageFormat::Jpeg);
    assert_eq!(thumbnail.dimensions(), (40, 60));
    is_near(&thumbnail, 20, 10, [255, 0, 0]);
    is_near(&thumbnail, 20, 50, [0, 0, 255]);
}

#[test]
fn a_bomb_is_refused_by_what_it_says_of_itself() {
    let host = Host::new();
    let refused = |picture: Vec<u8>, expected: &str| {
        let failure = post(&host, "", picture).expect_err("too large");
        assert_eq!(failure, Failure::out_of_range(expected));
    };
    refused(
        png_of(20_000, 1_001),
        "20000 by 1001 are 20020000 pixels, more than the limit of 20000000 (`pixels-max`)",
    );
    refused(
        png_of(50_000, 50_000),
        "50000 by 50000 are 2500000000 pixels, more than the limit of 20000000 (`pixels-max`)",
    );
    let mut jpeg = encoded(halves(16, 16), ImageFormat::Jpeg);
    let frame = jpeg
        .windows(2)
        .position(|it| it == [0xff, 0xc0])
        .expect("a frame");
    jpeg[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    refused(
        jpeg,
        "65535 by 65535 are 4294836225 pixels, more than the limit of 20000000 (`pixels-max`)",
    );
    refused(
        png_of(65_536, 1),
        "the picture has a side of more than 65535 pixels, or more than 67108864 octets beside its pixels",
    );
}

#[test]
fn the_bound_of_pixels_is_the_manifests() {
    let host = Host::new();
    host.config("pixels-max", "200");
    let picture = |width| encoded(halves(width, 10), ImageFormat::Png);
    post(&host, "", picture(20)).expect("just as many");
    let failure = post(&host, "", picture(21)).expect_err("more");
    assert_eq!(failure.kind, Kind::OutOfRange);
}

#[test]
fn what_is_no_picture_is_refused() {
    let check = |octets: &[u8], expected: &str| {
        let failure = post(&Host::new(), "", octets.to_vec()).expect_err("no picture");
        assert_eq!(failure.kind, Kind::InvalidArgument, "{failure:?}");
        assert!(failure.message.starts_with(expected), "{failure:?}");
    };
    check(b"", "there is no picture: send a PNG or a JPEG as the body");
    check(
        b"GIF89a\x01\0\x01\0",
        "what begins with 47 49 46 38 39 61 01 00 is neither a PNG nor a JPEG",
    );
    check(b"<svg/>", "what begins with 3c 73 76 67 2f 3e is neither");
    let png = encoded(halves(64, 64), ImageFormat::Png);
    check(&png[..20], "the picture is broken: ");
    check(&png[..png.len() / 2], "the picture is broken: ");
    check(&[0xff, 0xd8, 0xff, 0xe0], "the picture is broken: ");
    // They say more of themselves than there is, and not too much.
    check(&png_of(1_000, 1_000), "the picture is broken: ");
    let deepest = deep_png_of(20_000, 1_000, [16, 6]);
    check(&deepest, "the picture is broken: ");
}
