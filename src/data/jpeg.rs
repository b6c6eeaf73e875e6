//! Whether a JPEG is whole: the format has no checksum, and its decoder makes up what is missing without a word.

use crate::Result;

/// Bits that stand for no picture: a decoder that still wants data makes something else of them than of an end. No 0xff,
/// which would begin a marker.
const NOISE: [u8; 251] = {
    let (mut noise, mut state, mut i) = ([0; 251], 1u32, 0);
    while i < noise.len() {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        noise[i] = ((state >> 16) % 0xff) as u8;
        i += 1;
    }
    noise
};

/// Refuses a file without an end marker, and one whose data are cut short in front of it: then its `pixels` depend on what
/// stands behind the data. Those of a whole file do not, whatever encoder it is from. A cut inside the last block may pass.
///
/// # Errors
/// The cause.
pub fn check_whole<T: PartialEq>(
    bytes: &[u8],
    pixels: &T,
    decode: impl Fn(&[u8]) -> Result<T>,
) -> Result<(), &'static str> {
    let end = end_marker(bytes).ok_or("truncated: the JPEG has no end marker")?;
    // Behind a 0xff the noise would be a marker; a 0 makes it data.
    let stuffing: &[u8] = if bytes[..end].ends_with(&[0xff]) { &[0] } else { &[] };
    let longer = [&bytes[..end], stuffing, &NOISE, &bytes[end..]].concat();
    match decode(&longer) {
        Ok(other) if other != *pixels => Err("truncated: the JPEG ends in the midst of its data"),
        // A decoder that dislikes what it has no need to read says nothing of the file.
        _ => Ok(()),
    }
}

/// Walks the markers (ITU-T T.81, annex B) from SOI to EOI, whose place it returns: thumbnails and comments may hold an EOI
/// of their own.
fn end_marker(bytes: &[u8]) -> Option<usize> {
    let mut at = 2; // behind SOI
    loop {
        at += 1 + bytes.get(at..)?.iter().position(|&b| b == 0xff)?;
        match bytes.get(at)? {
            0xd9 => return Some(at - 1),
            0xff => {}                            // a fill byte; the next one may be the marker
            0x00 | 0x01 | 0xd0..=0xd8 => at += 1, // a stuffed byte of entropy-coded data, or no payload
            _ => {
                let length = bytes.get(at + 1..at + 3)?;
                at += 1 + usize::from(u16::from_be_bytes([length[0], length[1]])).max(2);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{DynamicImage, GrayImage, ImageFormat, RgbImage};
    use std::io::Cursor;

    fn whole(bytes: &[u8]) -> Result<(), &'static str> {
        let decode = |bytes: &[u8]| {
            let decoded = image::load_from_memory_with_format(bytes, ImageFormat::Jpeg);
            decoded.map_err(|e| crate::Error::input("x.jpg", e.to_string()))
        };
        check_whole(bytes, &decode(bytes).map_err(|_| "cannot be decoded")?, decode)
    }

    fn encoded(image: DynamicImage) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn a_cut_scan_with_an_end_marker_is_truncated() {
        let texture = |x: u32, y: u32| (x * 7 + y * y * 3 + x * y) as u8;
        let flat = GrayImage::from_pixel(640, 480, image::Luma([20])).into();
        let grey = GrayImage::from_fn(61, 47, |x, y| image::Luma([texture(x, y)])).into();
        let colour = RgbImage::from_fn(61, 47, |x, y| image::Rgb([x as u8, texture(x, y), y as u8])).into();
        for bytes in [flat, grey, colour].map(encoded) {
            assert_eq!(whole(&bytes), Ok(()));
            let scan = bytes.windows(2).position(|w| w == [0xff, 0xda]).unwrap() + 12;
            for cut in (scan..bytes.len() - 64).step_by(7) {
                let shorter = [&bytes[..cut], &[0xff, 0xd9]].concat();
                assert!(whole(&shorter).is_err(), "cut at {cut} of {}", bytes.len());
            }
            let trailing = [&bytes[..], b"more \xff\xd9"].concat();
            assert_eq!(whole(&trailing), Ok(()), "what follows the end is no matter");
        }
    }
}
