//! Image files: reading grey pixels and sizes, finding inputs, writing PNG.
//!
//! PNG, JPEG, TIFF (first page) and BMP, recognised by content. Pixels are taken as stored: an EXIF orientation,
//! gamma or colour profile is not applied, and alpha is ignored.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};

use image::codecs::png::PngEncoder;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder, ImageEncoder, ImageError, ImageFormat, ImageReader, Limits,
};
use rayon::prelude::*;

use crate::data::files::{read_capped, write_atomic};
use crate::data::gray::GrayImage;
use crate::data::jpeg;
use crate::error::{Error, Result};

/// The largest image that is read, in pixels; checked on the header, before pixels are allocated.
pub const MAX_PIXELS: u64 = 64 << 20;
/// The largest image file that is read: [`MAX_PIXELS`] of four 16-bit channels, uncompressed, and as much again.
const MAX_FILE_BYTES: u64 = 1 << 30;
/// The extensions by which images are found in a folder.
pub const EXTENSIONS: [&str; 6] = ["bmp", "jpeg", "jpg", "png", "tif", "tiff"];

/// Reads an image as grey in `[0, 1]`: 8-bit channels divided by 255, 16-bit ones by 65535.
///
/// Colour becomes Rec. 601 luma of the stored (gamma-encoded) values, `0.299 R + 0.587 G + 0.114 B`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] for another format, floating-point pixels, more than [`MAX_PIXELS`], and a file
/// that is truncated or corrupt as far as its format can tell (JPEG has no checksum).
pub fn read_gray(path: impl AsRef<Path>) -> Result<GrayImage> {
    let path = path.as_ref();
    let bytes = read_capped(path, MAX_FILE_BYTES)?;
    let bad = |e: ImageError| Error::input(path, cause(&e));
    let decode = |bytes: &[u8]| {
        let decoder = reader(Cursor::new(bytes), path)?.into_decoder().map_err(bad)?;
        checked_size(path, decoder.dimensions())?;
        DynamicImage::from_decoder(decoder).map_err(bad)
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
    GrayImage::new(width, height, pixels)
}

/// `(width, height)` in pixels, from the header alone.
///
/// # Errors
/// As [`read_gray`], for what the header shows.
pub fn image_size(path: impl AsRef<Path>) -> Result<(u32, u32)> {
    let path = path.as_ref();
    let file = File::open(path).map_err(|e| Error::io(path, "read", e))?;
    let decoder = reader(BufReader::new(file), path)?.into_decoder().map_err(|e| Error::input(path, cause(&e)))?;
    checked_size(path, decoder.dimensions())
}

/// The files that `args` mean: files as given, folders (every image inside, not deeper), and patterns such as
/// `scans/*.png` for shells that leave them alone. Sorted, each file once; hidden files must be named.
///
/// # Errors
/// [`Error::Usage`] without arguments; [`Error::Input`] for an argument that matches nothing.
pub fn expand_inputs(args: &[String]) -> Result<Vec<PathBuf>> {
    if args.is_empty() {
        return Err(Error::Usage("no images given; name files, folders or patterns such as 'scans/*.png'".into()));
    }
    let mut files = Vec::new();
    for arg in args {
        let path = Path::new(arg);
        if path.exists() || !arg.contains(['*', '?', '[']) {
            push_input(path, &mut files)?;
            continue;
        }
        let before = files.len();
        for found in matches(arg)? {
            push_input(&found, &mut files)?;
        }
        if files.len() == before {
            return Err(Error::input(path, "no file matches this pattern"));
        }
    }
    files.sort();
    let mut seen = HashSet::new();
    // `a.png` and `./a.png` are one file; two links to one file are two images.
    files.retain(|file| seen.insert(std::path::absolute(file).unwrap_or_else(|_| file.clone())));
    Ok(files)
}

/// The paths that a pattern matches, folder by folder; `**` is any number of folders. Hidden files only match a dot.
fn matches(pattern: &str) -> Result<Vec<PathBuf>> {
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let mut found = vec![PathBuf::from(if pattern.starts_with('/') { "/" } else { "" })];
    for part in pattern.split('/').filter(|part| !part.is_empty()) {
        if !part.contains(['*', '?', '[']) {
            found = found.into_iter().map(|folder| folder.join(part)).filter(|path| path.exists()).collect();
            continue;
        }
        let glob = glob::Pattern::new(part)
            .map_err(|e| Error::input(pattern, format!("not a pattern: {} in `{part}`", e.msg)))?;
        let mut next = Vec::new();
        while let Some(folder) = found.pop() {
            if part == "**" {
                next.push(folder.clone());
            }
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { &folder };
            if !here.is_dir() {
                continue;
            }
            for entry in std::fs::read_dir(here).map_err(|e| Error::io(here, "read", e))? {
                let entry = entry.map_err(|e| Error::io(here, "read", e))?;
                // A name that is not UTF-8 matches by what of it is; whoever wants labels for it will be told to rename it.
                if !glob.matches_with(&entry.file_name().to_string_lossy(), options) {
                    continue;
                }
                match part {
                    "**" if entry.path().is_dir() => found.push(folder.join(entry.file_name())),
                    "**" => {}
                    _ => next.push(folder.join(entry.file_name())),
                }
            }
        }
        found = next;
    }
    Ok(found)
}

/// Adds a file, or the images of a folder.
fn push_input(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let io = |source| Error::io(path, "read", source);
    if !path.metadata().map_err(io)?.is_dir() {
        files.push(path.into());
        return Ok(());
    }
    let before = files.len();
    for entry in path.read_dir().map_err(io)? {
        let file = entry.map_err(io)?.path();
        let hidden = file.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')); // such as macOS's `._1.jpg`
        let known = file.extension().is_some_and(|e| EXTENSIONS.iter().any(|known| e.eq_ignore_ascii_case(known)));
        if known && !hidden && file.is_file() {
            files.push(file);
        }
    }
    if files.len() == before {
        return Err(Error::input(path, format!("no images in this folder; looked for *.{}", EXTENSIONS.join(", *."))));
    }
    Ok(())
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
        return Err(Error::input(path, "empty, or not a PNG, JPEG, TIFF or BMP image"));
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
    let luma = |p: &[T]| match CHANNELS {
        1 | 2 => p[0].into() / white,
        _ => (0.299 * p[0].into() + 0.587 * p[1].into() + 0.114 * p[2].into()) / white,
    };
    samples.par_chunks_exact(CHANNELS).map(luma).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use image::{ImageBuffer, Rgba};

    /// A folder of its own for each test, removed at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("onemark-images-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
        fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
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
        for (bytes, expected) in [(&b""[..], "empty, or not"), (b"hello, this is text", "not a PNG, JPEG, TIFF or BMP")]
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

    #[test]
    fn inputs_are_files_folders_and_patterns() {
        let folder = Folder::new("inputs");
        for name in ["b.png", "a.JPG", "notes.txt", ".hidden.png", "[1].tif"] {
            folder.file(name, b"x");
        }
        std::fs::create_dir(folder.0.join("empty")).unwrap();
        let arg = |s: &str| format!("{}/{s}", folder.0.display());
        let names = |args: &[String]| -> Vec<String> {
            let files = expand_inputs(args).unwrap();
            files.iter().map(|f| f.file_name().unwrap().to_string_lossy().into()).collect()
        };
        assert_eq!(names(&[arg("")]), ["[1].tif", "a.JPG", "b.png"]);
        assert_eq!(names(&[arg("*.png"), arg("b.png"), arg("./b.png"), arg("notes.txt")]), ["b.png", "notes.txt"]);
        assert_eq!(names(&[arg("[1].tif")]), ["[1].tif"], "an existing file is not a pattern");
        assert_eq!(names(&[arg("?.png")]), ["b.png"]);
        for (argument, expected) in [
            (arg("none.png"), "cannot read"),
            (arg("*.gif"), "no file matches this pattern"),
            (arg("empty"), "no images in this folder; looked for *.bmp, *.jpeg"),
            (arg("[a"), "not a pattern"),
        ] {
            let error = expand_inputs(&[argument]).unwrap_err();
            assert!(error.to_string().contains(expected) && error.exit_code() == 3, "{error}");
        }
        assert_eq!(expand_inputs(&[]).unwrap_err().exit_code(), 2);
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

    #[cfg(unix)]
    #[test]
    fn patterns_descend_and_names_that_are_not_utf8_do_no_harm() {
        use std::os::unix::ffi::OsStrExt;
        let root = std::env::temp_dir().join(format!("onemark-patterns-{}", std::process::id()));
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        for name in ["1.png", "a/2.png", "a/b/3.png", "a/.4.png"] {
            std::fs::write(root.join(name), b"").unwrap();
        }
        std::fs::write(root.join(std::ffi::OsStr::from_bytes(b"x\xff.png")), b"").unwrap();
        let count = |pattern: &str| expand_inputs(&[root.join(pattern).to_str().unwrap().into()]).unwrap().len();
        assert_eq!((count("**/?.png"), count("*/*.png"), count("a/*/[3-4].png"), count("*.png")), (3, 1, 1, 2));
        std::fs::remove_dir_all(&root).unwrap();
    }
}
