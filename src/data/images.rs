//! Image files: reading grey pixels, sizes and spacings, writing PNG.
//!
//! PNG, JPEG, TIFF (first page), BMP and DICOM, recognised by content. An orientation in the file (EXIF, TIFF) is applied: the
//! image stands as a viewer shows it, and so do all coordinates in it. A gamma or colour profile is not applied, and alpha is
//! ignored. `docs/images.md` says how values come about.

use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
};
use rayon::prelude::*;

#[cfg(feature = "dicom")]
use crate::data::dicom;
use crate::data::files::{read_capped, write_atomic};
use crate::data::gray::{GrayImage, luma};
pub use crate::data::inputs::expand_inputs;
use crate::data::jpeg;
use crate::data::labels::PixelSpacing;
use crate::error::{Error, Result};

/// The largest image that is read, in pixels; checked on the header, before pixels are allocated.
pub const MAX_PIXELS: u64 = 64 << 20;
/// The largest image file that is read: [`MAX_PIXELS`] of four 16-bit channels, uncompressed, and as much again.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// An image, and what its file says of its size in the world.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// The pixels.
    pub gray: GrayImage,
    /// Millimetres between pixels, if the file has them: DICOM alone. Resolutions in PNG, JPEG and TIFF are not taken, for they
    /// mostly say how large to print.
    pub spacing: Option<PixelSpacing>,
}

/// [`read_image`]'s pixels.
///
/// # Errors
/// As [`read_image`].
pub fn read_gray(path: impl AsRef<Path>) -> Result<GrayImage> {
    Ok(read_image(path)?.gray)
}

/// Reads an image as grey in `[0, 1]`: 8-bit channels divided by 255, 16-bit ones by 65535; DICOM through its window.
///
/// Colour becomes Rec. 601 luma of the stored (gamma-encoded) values, `0.299 R + 0.587 G + 0.114 B`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] for another format, floating-point pixels, more than [`MAX_PIXELS`], and a file
/// that is truncated or corrupt as far as its format can tell (JPEG has no checksum).
pub fn read_image(path: impl AsRef<Path>) -> Result<Image> {
    let path = path.as_ref();
    check_file(path)?;
    let bytes = read_capped(path, MAX_FILE_BYTES)?;
    if is_dicom(&bytes) {
        return read_dicom(&bytes, path);
    }
    let bad = |e: ImageError| Error::input(path, cause(&e));
    let decode = |bytes: &[u8]| {
        let mut decoder = reader(Cursor::new(bytes), path)?.into_decoder().map_err(bad)?;
        checked_size(path, decoder.dimensions())?;
        let orientation = orientation(&mut decoder);
        let mut pixels = DynamicImage::from_decoder(decoder).map_err(bad)?;
        pixels.apply_orientation(orientation);
        Ok(pixels)
    };
    let pixels = decode(&bytes)?;
    if reader(Cursor::new(&bytes), path)?.format() == Some(ImageFormat::Jpeg) {
        jpeg::check_whole(&bytes, &pixels, decode).map_err(|cause| Error::input(path, cause))?;
    }
    let (width, height) = (pixels.width() as usize, pixels.height() as usize);
    let pixels = match &pixels {
        DynamicImage::ImageLuma8(p) => grey::<_, 1>(p.as_raw(), 255.0),
        DynamicImage::ImageLumaA8(p) => grey::<_, 2>(p.as_raw(), 255.0),
        DynamicImage::ImageRgb8(p) => grey::<_, 3>(p.as_raw(), 255.0),
        DynamicImage::ImageRgba8(p) => grey::<_, 4>(p.as_raw(), 255.0),
        DynamicImage::ImageLuma16(p) => grey::<_, 1>(p.as_raw(), 65535.0),
        DynamicImage::ImageLumaA16(p) => grey::<_, 2>(p.as_raw(), 65535.0),
        DynamicImage::ImageRgb16(p) => grey::<_, 3>(p.as_raw(), 65535.0),
        DynamicImage::ImageRgba16(p) => grey::<_, 4>(p.as_raw(), 65535.0),
        _ => return Err(Error::input(path, "floating-point pixels; convert the image to 8 or 16 bits")),
    };
    Ok(Image { gray: GrayImage::new(width, height, pixels)?, spacing: None })
}

/// `(width, height)` in pixels of the image as [`read_image`] turns it, from the header alone.
///
/// # Errors
/// As [`read_gray`], for what the header shows.
pub fn image_size(path: impl AsRef<Path>) -> Result<(u32, u32)> {
    let path = path.as_ref();
    check_file(path)?;
    if begins_as_dicom(path) {
        return dicom_size(path);
    }
    let file = File::open(path).map_err(|e| Error::io(path, "read", e))?;
    let mut decoder = reader(BufReader::new(file), path)?.into_decoder().map_err(|e| Error::input(path, cause(&e)))?;
    let (width, height) = checked_size(path, decoder.dimensions())?;
    Ok(match orientation(&mut decoder) {
        Orientation::Rotate90 | Orientation::Rotate270 => (height, width),
        Orientation::Rotate90FlipH | Orientation::Rotate270FlipH => (height, width),
        Orientation::NoTransforms | Orientation::Rotate180 => (width, height),
        Orientation::FlipHorizontal | Orientation::FlipVertical => (width, height),
    })
}

/// Fails for what is no file: a pipe or device could be waited for without end.
///
/// # Errors
/// [`Error::Io`], [`Error::Input`].
pub fn check_file(path: &Path) -> Result<()> {
    match path.metadata().map_err(|e| Error::io(path, "read", e))? {
        meta if meta.is_file() => Ok(()),
        meta if meta.is_dir() => Err(Error::input(path, "a folder, but an image is needed")),
        _ => Err(Error::input(path, "a pipe or device; images are read from files alone")),
    }
}

/// How the image must be turned to stand upright; damaged metadata turn nothing.
fn orientation(decoder: &mut impl ImageDecoder) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
}

/// Whether a file with these first bytes is DICOM (PS3.10, section 7.1): `DICM` behind 128 bytes of anything.
fn is_dicom(bytes: &[u8]) -> bool {
    bytes.get(128..132) == Some(b"DICM")
}

/// Whether a file is DICOM, by its first bytes; one that cannot be read is not.
pub(crate) fn begins_as_dicom(path: &Path) -> bool {
    let mut first = [0; 132];
    File::open(path).and_then(|mut file| file.read_exact(&mut first)).is_ok() && is_dicom(&first)
}

#[cfg(feature = "dicom")]
fn read_dicom(bytes: &[u8], path: &Path) -> Result<Image> {
    let (gray, spacing) = dicom::read(bytes, path, |size| checked_size(path, size))?;
    Ok(Image { gray, spacing })
}

#[cfg(feature = "dicom")]
fn dicom_size(path: &Path) -> Result<(u32, u32)> {
    checked_size(path, dicom::size(&read_capped(path, MAX_FILE_BYTES)?, path)?)
}

#[cfg(not(feature = "dicom"))]
fn read_dicom(_: &[u8], path: &Path) -> Result<Image> {
    Err(Error::input(path, "a DICOM file, but this program was built without its feature `dicom`"))
}

#[cfg(not(feature = "dicom"))]
fn dicom_size(path: &Path) -> Result<(u32, u32)> {
    read_dicom(&[], path).map(|_| (0, 0))
}

/// Writes `width * height` grey bytes as PNG, whole or not at all.
///
/// # Errors
/// [`Error::Io`]; [`Error::Shape`] if `pixels` has another length.
pub fn write_png_gray(path: impl AsRef<Path>, width: u32, height: u32, pixels: &[u8]) -> Result<()> {
    write_png(path.as_ref(), width, height, pixels, ExtendedColorType::L8)
}

/// Writes `width * height * 3` bytes, red green blue, as PNG, whole or not at all.
///
/// # Errors
/// As [`write_png_gray`].
pub fn write_png_rgb(path: impl AsRef<Path>, width: u32, height: u32, pixels: &[u8]) -> Result<()> {
    write_png(path.as_ref(), width, height, pixels, ExtendedColorType::Rgb8)
}

fn write_png(path: &Path, width: u32, height: u32, pixels: &[u8], color: ExtendedColorType) -> Result<()> {
    let channels = u64::from(color.channel_count());
    let needed = (u64::from(width) * u64::from(height)).checked_mul(channels); // u32 * u32 fits
    if width == 0 || height == 0 || needed != Some(pixels.len() as u64) {
        let cause = format!("{} bytes cannot make an image of {width}x{height}x{channels}", pixels.len());
        return Err(Error::Shape { op: "write_png", cause });
    }
    let mut png = Vec::new();
    let encoded = PngEncoder::new(&mut png).write_image(pixels, width, height, color);
    encoded.map_err(|e| Error::input(path, cause(&e)))?;
    write_atomic(path, &png)
}

/// A reader with format recognised and limits set.
fn reader<R: BufRead + Seek>(source: R, path: &Path) -> Result<ImageReader<R>> {
    let mut reader = ImageReader::new(source).with_guessed_format().map_err(|e| Error::io(path, "read", e))?;
    if !reader.format().is_some_and(|format| format.reading_enabled()) {
        return Err(Error::input(path, "empty, or not a PNG, JPEG, TIFF, BMP or DICOM image"));
    }
    let mut limits = Limits::default();
    limits.max_image_width = Some(MAX_PIXELS as u32);
    limits.max_image_height = Some(MAX_PIXELS as u32);
    limits.max_alloc = Some(MAX_FILE_BYTES);
    reader.limits(limits);
    Ok(reader)
}

fn checked_size(path: &Path, (width, height): (u32, u32)) -> Result<(u32, u32)> {
    match u64::from(width) * u64::from(height) {
        0 => Err(Error::input(path, format!("an image of {width}x{height} has no pixels"))),
        pixels if pixels > MAX_PIXELS => {
            let limit = MAX_PIXELS >> 20;
            Err(Error::input(path, format!("{width}x{height} is over {limit} megapixels; shrink the image first")))
        }
        _ => Ok((width, height)),
    }
}

/// The decoder's words on one line, behind ours.
fn cause(e: &ImageError) -> String {
    let kind = match e {
        ImageError::Decoding(_) => "corrupt or truncated image",
        ImageError::IoError(_) => "truncated image",
        ImageError::Limits(_) => "image too large",
        ImageError::Unsupported(_) => "unsupported kind of image",
        _ => "unusable image",
    };
    format!("{kind}: {}", e.to_string().replace(['\n', '\r'], " "))
}

/// Grey values of interleaved channels: grey, grey and alpha, RGB or RGBA.
fn grey<T: Copy + Into<f32> + Sync, const CHANNELS: usize>(samples: &[T], white: f32) -> Vec<f32> {
    let grey = |p: &[T]| match CHANNELS {
        1 | 2 => p[0].into() / white,
        _ => luma([p[0], p[1], p[2]], white),
    };
    samples.par_chunks_exact(CHANNELS).map(grey).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use image::{ImageBuffer, Rgba};
    use std::path::PathBuf;

    /// A folder of its own for each test, removed at the end.
    pub struct Folder(pub PathBuf);

    impl Folder {
        pub fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("onemark-images-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
        pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
            std::fs::write(self.0.join(name), bytes).unwrap();
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn pattern(x: u32, y: u32) -> Rgba<u8> {
        Rgba([(x * 9) as u8, (y * 7) as u8, (x * y) as u8, (255 - x) as u8])
    }

    fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
        let mut bytes = Cursor::new(Vec::new());
        image.write_to(&mut bytes, format).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn every_format_and_depth_reads_the_same_luma() {
        let folder = Folder::new("formats");
        let rgba = ImageBuffer::from_fn(23, 17, pattern);
        let image = DynamicImage::ImageRgba8(rgba.clone());
        let luma = |p: &Rgba<u8>| (0.299 * p[0] as f32 + 0.587 * p[1] as f32 + 0.114 * p[2] as f32) / 255.0;
        let expected: Vec<f32> = rgba.pixels().map(luma).collect();
        for (image, format, tolerance) in [
            (image.clone(), ImageFormat::Png, 1e-6),
            (image.to_rgb8().into(), ImageFormat::Bmp, 1e-6),
            (image.to_rgb16().into(), ImageFormat::Png, 1e-6),
            (image.to_rgba16().into(), ImageFormat::Tiff, 1e-6),
            (image.to_rgb8().into(), ImageFormat::Tiff, 1e-6),
            (image.to_rgb8().into(), ImageFormat::Jpeg, 0.3),
        ] {
            let path = folder.file("wrong-extension.txt", &encode(&image, format));
            let read = read_gray(&path).unwrap();
            assert_eq!((read.width, read.height), (23, 17));
            assert_eq!(image_size(&path).unwrap(), (23, 17));
            let worst = read.pixels.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < tolerance, "{format:?}: {worst}");
        }
        let grey16 = ImageBuffer::from_fn(5, 3, |x, y| image::Luma([(x * 13_000 + y) as u16]));
        let path = folder.file("16.png", &encode(&grey16.clone().into(), ImageFormat::Png));
        let expected: Vec<f32> = grey16.as_raw().iter().map(|&v| f32::from(v) / 65535.0).collect();
        assert_eq!(read_gray(path).unwrap().pixels, expected);
        let float = DynamicImage::ImageRgb32F(ImageBuffer::from_pixel(2, 2, image::Rgb([0.5; 3])));
        let path = folder.file("float.tif", &encode(&float, ImageFormat::Tiff));
        assert!(read_gray(path).unwrap_err().to_string().contains("floating-point"));
    }

    #[test]
    fn truncated_files_are_errors_and_damaged_ones_never_panic() {
        let folder = Folder::new("damage");
        let image: DynamicImage = DynamicImage::ImageRgba8(ImageBuffer::from_fn(40, 24, pattern)).to_rgb8().into();
        let mut state = 1u32;
        for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Tiff, ImageFormat::Bmp] {
            let bytes = encode(&image, format);
            for end in (0..bytes.len()).step_by(bytes.len() / 150 + 1) {
                let path = folder.file("cut", &bytes[..end]);
                let error = read_gray(&path).expect_err("a truncated file is an error").to_string();
                assert!(error.contains("cut: ") && !error.contains('\n'), "{format:?} at {end}: {error}");
                let _ = image_size(&path);
            }
            for _ in 0..400 {
                let mut damaged = bytes.clone();
                for _ in 0..3 {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    let spread = if state & 0x80 == 0 { bytes.len() } else { bytes.len().min(64) }; // headers matter most
                    damaged[(state >> 8) as usize % spread] ^= 1 << (state % 8);
                }
                let path = folder.file("flipped", &damaged);
                let _ = (read_gray(&path), image_size(&path));
            }
        }
        for (bytes, expected) in
            [(&b""[..], "empty, or not"), (b"hello, this is text", "not a PNG, JPEG, TIFF, BMP or DICOM")]
        {
            assert!(read_gray(folder.file("f", bytes)).unwrap_err().to_string().contains(expected));
        }
        assert!(matches!(read_gray(folder.0.join("none")), Err(Error::Io { .. })));
        assert!(matches!(read_gray(&folder.0), Err(Error::Input { .. })));
    }

    #[test]
    fn oversized_images_are_refused_on_the_header() {
        let folder = Folder::new("huge");
        let mut bmp = encode(&DynamicImage::new_rgb8(2, 2), ImageFormat::Bmp);
        bmp[18..22].copy_from_slice(&60_000u32.to_le_bytes());
        bmp[22..26].copy_from_slice(&60_000u32.to_le_bytes());
        let path = folder.file("huge.bmp", &bmp);
        for error in [read_gray(&path).unwrap_err(), image_size(&path).unwrap_err()] {
            assert!(error.to_string().contains("60000x60000 is over 64 megapixels"), "{error}");
        }
    }

    /// An EXIF block that says an orientation.
    fn exif(orientation: u8) -> Vec<u8> {
        [b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".as_slice(), &[orientation], &[0; 6]].concat()
    }

    /// A grey TIFF of 8 bits with an orientation.
    fn tiff(width: u16, height: u16, pixels: &[u8], orientation: u16) -> Vec<u8> {
        let fields = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (274, orientation)];
        let fields = [&fields[..], &[(277, 1), (278, height), (279, pixels.len() as u16)]].concat();
        let mut tiff = [b"II\x2a\0".as_slice(), &(8 + pixels.len() as u32).to_le_bytes(), pixels].concat();
        tiff.extend((fields.len() as u16).to_le_bytes());
        for (tag, value) in fields {
            tiff.extend([tag, 3, 1, 0, value, 0].into_iter().flat_map(u16::to_le_bytes));
        }
        tiff.extend([0; 4]);
        tiff
    }

    #[test]
    fn images_are_turned_upright() {
        let folder = Folder::new("upright");
        let (w, h) = (24, 16);
        let value = |x: usize, y: usize| (40 + 80 * (x / 8) + 25 * (y / 8)) as u8;
        let stored: Vec<u8> = (0..w * h).map(|i| value(i % w, i / w)).collect();
        for orientation in 1..=8 {
            let mut upright = vec![0.0; w * h];
            for (i, &v) in stored.iter().enumerate() {
                let ([x, y], [right, low]) = ([i % w, i / w], [w - 1 - i % w, h - 1 - i / w]);
                let ([x, y], width) = match orientation {
                    1 => ([x, y], w),
                    2 => ([right, y], w),
                    3 => ([right, low], w),
                    4 => ([x, low], w),
                    5 => ([y, x], h),
                    6 => ([low, x], h),
                    7 => ([low, right], h),
                    _ => ([y, right], h),
                };
                upright[y * width + x] = f32::from(v) / 255.0;
            }
            let grey = DynamicImage::ImageLuma8(ImageBuffer::from_raw(w as u32, h as u32, stored.clone()).unwrap());
            let jpeg = encode(&grey, ImageFormat::Jpeg);
            let app1 = [b"\xff\xe1\0\x22Exif\0\0".as_slice(), &exif(orientation)].concat();
            let jpeg = [&jpeg[..2], &app1, &jpeg[2..]].concat();
            let mut png = Vec::new();
            let mut encoder = PngEncoder::new(&mut png);
            encoder.set_exif_metadata(exif(orientation)).unwrap();
            encoder.write_image(&stored, w as u32, h as u32, ExtendedColorType::L8).unwrap();
            let tiff = tiff(w as u16, h as u16, &stored, orientation.into());
            for (bytes, tolerance) in [(png, 1e-6), (tiff, 1e-6), (jpeg, 0.02)] {
                let path = folder.file("turned", &bytes);
                let read = read_gray(&path).unwrap();
                let size = if orientation > 4 { (h, w) } else { (w, h) };
                assert_eq!((read.width, read.height), size, "{orientation}");
                assert_eq!(image_size(&path).unwrap(), (size.0 as u32, size.1 as u32), "{orientation}");
                let worst = read.pixels.iter().zip(&upright).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(worst < tolerance, "{orientation}: {worst}");
            }
        }
    }

    #[test]
    fn png_round_trip() {
        let folder = Folder::new("write");
        let path = folder.0.join("o.png");
        write_png_gray(&path, 3, 2, &[0, 1, 2, 253, 254, 255]).unwrap();
        assert_eq!(read_gray(&path).unwrap().to_u8(), [0, 1, 2, 253, 254, 255]);
        write_png_rgb(&path, 1, 2, &[10, 10, 10, 200, 200, 200]).unwrap();
        assert_eq!(read_gray(&path).unwrap().to_u8(), [10, 200]);
        assert!(write_png_gray(&path, 3, 3, &[0; 8]).is_err() && write_png_rgb(&path, 0, 3, &[]).is_err());
        assert!(write_png_rgb(&path, u32::MAX, u32::MAX, &[]).is_err());
    }
}
