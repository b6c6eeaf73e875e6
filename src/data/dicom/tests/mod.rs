//! DICOM files written by [`file::File`], read back.

mod file;

use self::file::*;
use super::*;
use crate::error::Error;

fn close(read: &[f32], expected: &[f64]) {
    let near = read.iter().zip(expected).all(|(&a, &b)| (f64::from(a) - b).abs() < 1e-6);
    assert!(read.len() == expected.len() && near, "{read:?} {expected:?}");
}

#[test]
fn every_encoding_reads_the_same() {
    let values: Vec<u16> = (0..35).map(|i| i * 1872).collect();
    let expected: Vec<f32> = values.iter().map(|&v| (f64::from(v) / 65535.0) as f32).collect();
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN] {
        let icon = vec![vec![us(0x0028, 0x0010, 9), ((0x7fe0, 0x0010), "OW", words(&[1, 2]))]];
        let file = File::grey(7, &values).encoded(syntax).sequence(0x0088, 0x0200, icon);
        let (image, spacing) = file.read().unwrap();
        assert_eq!((image.width, image.height, spacing), (7, 5, None), "{syntax}");
        assert_eq!(image.pixels, expected, "{syntax}");
        assert_eq!(size(&file.bytes(), Path::new("x")).unwrap(), (7, 5));
    }
    let bytes: Vec<u8> = (0..12).map(|i| i * 20).collect();
    let eight = |vr| {
        let file = File::grey(4, &[0; 12]).encoded(BIG_ENDIAN).with(us(0x0028, 0x0100, 8));
        file.with(us(0x0028, 0x0101, 8))
            .with(us(0x0028, 0x0102, 7))
            .with(((0x7fe0, 0x0010), vr, bytes.clone()))
            .pixels()
    };
    // Words of two pixels are swapped in big endian, bytes are not.
    assert_eq!(eight("OB"), bytes.iter().map(|&v| f32::from(v) / 255.0).collect::<Vec<_>>());
    assert_eq!(eight("OB"), eight("OW"));
}

#[test]
fn polarity_sign_and_stored_bits() {
    let values = [0, 1000, 65535, 40000];
    let plain = File::grey(2, &values).pixels();
    let inverted = File::grey(2, &values).with(text(0x0028, 0x0004, "CS", "MONOCHROME1")).pixels();
    plain.iter().zip(&inverted).for_each(|(a, b)| assert!((a + b - 1.0).abs() < 1e-6));
    // 12 bits of 16, with an overlay in the bits above, which no value has.
    let twelve = File::grey(2, &[0xf000, 0x0fff, 0x1800, 0x0800]);
    let twelve = twelve.with(us(0x0028, 0x0101, 12)).with(us(0x0028, 0x0102, 11));
    close(&twelve.pixels(), &[0.0, 1.0, 2048.0 / 4095.0, 2048.0 / 4095.0]);
    let high = File::grey(2, &[0xfff0, 0x000f, 0x8000, 0x8001]);
    let high = high.with(us(0x0028, 0x0101, 12)).with(us(0x0028, 0x0102, 15));
    close(&high.pixels(), &[1.0, 0.0, 2048.0 / 4095.0, 2048.0 / 4095.0]);
    let signed = twelve.with(us(0x0028, 0x0103, 1)).with(((0x7fe0, 0x0010), "OW", words(&[0x800, 0x7ff, 0, 0xfff])));
    close(&signed.pixels(), &[0.0, 1.0, 2048.0 / 4095.0, 2047.0 / 4095.0]);
}

#[test]
fn windows_and_rescale() {
    let hounsfield = File::grey(3, &[0, 924, 1024, 1064, 1124, 4000])
        .with(text(0x0028, 0x1052, "DS", "-1024"))
        .with(text(0x0028, 0x1053, "DS", "1"));
    // PS3.3, C.11.2.1.2.1: ((x - (c - 0.5)) / (w - 1) + 0.5), here of -1024, -100, 0, 40, 100, 2976.
    let window = |file: File, center, width| {
        file.with(text(0x0028, 0x1050, "DS", center)).with(text(0x0028, 0x1051, "DS", width))
    };
    let linear = |x: f64| ((x - 39.5) / 399.0 + 0.5).clamp(0.0, 1.0);
    let values = [-1024.0, -100.0, 0.0, 40.0, 100.0, 2976.0];
    let linear = values.map(linear);
    let file = window(hounsfield, "40\\600", "400 \\1600");
    close(&file.pixels(), &linear);
    let exact = file.with(text(0x0028, 0x1056, "CS", "LINEAR_EXACT"));
    close(&exact.pixels(), &values.map(|x: f64| ((x - 40.0) / 400.0 + 0.5).clamp(0.0, 1.0)));
    let sigmoid = exact.with(text(0x0028, 0x1056, "CS", "SIGMOID"));
    close(&sigmoid.pixels(), &values.map(|x| 1.0 / (1.0 + (-4.0 * (x - 40.0) / 400.0_f64).exp())));
    // A negative slope turns black and white around; a step is a window of one value.
    let falling = File::grey(2, &[0, 65535, 0, 65535]).with(text(0x0028, 0x1053, "DS", "-2"));
    close(&falling.pixels(), &[1.0, 0.0, 1.0, 0.0]);
    close(&window(File::grey(2, &[9, 10, 11, 12]), "11", "1").pixels(), &[0.0, 0.0, 1.0, 1.0]);
}

#[test]
fn without_a_window_the_stored_bits_are_shown_or_what_is_used_of_them() {
    close(&File::grey(2, &[100, 40_000, 60_000, 0]).pixels(), &[100.0, 40_000.0, 60_000.0, 0.0].map(|v| v / 65535.0));
    // 12 bits in a file that says 16.
    let sparse = File::grey(2, &[1000, 3000, 2000, 60_000]);
    close(&File::grey(2, &[1000, 3000, 2000, 1000]).pixels(), &[0.0, 1.0, 0.5, 0.0]);
    close(&sparse.with(us(0x0028, 0x0120, 60_000)).pixels(), &[0.0, 1.0, 0.5, 1.0]);
    close(&File::grey(2, &[7; 4]).pixels(), &[7.0 / 65535.0; 4]);
    let byte =
        File::grey(2, &[0; 4]).with(us(0x0028, 0x0100, 8)).with(us(0x0028, 0x0101, 8)).with(us(0x0028, 0x0102, 7));
    close(&byte.with(((0x7fe0, 0x0010), "OB", vec![1, 2, 3, 4])).pixels(), &[1.0, 2.0, 3.0, 4.0].map(|v| v / 255.0));
}

#[test]
fn lookup_tables() {
    let lut = |first: &[u16], data: Element| vec![vec![((0x0028, 0x3002), "US", words(first)), data]];
    let data = |vr, bytes: Vec<u8>| ((0x0028, 0x3006), vr, bytes);
    let modality = lut(&[3, 10, 16], data("US", words(&[100, 300, 200])));
    let rescaled = File::grey(2, &[0, 11, 12, 99]).sequence(0x0028, 0x3000, modality);
    let window = |file: File| file.with(text(0x0028, 0x1050, "DS", "200.5")).with(text(0x0028, 0x1051, "DS", "201"));
    close(&window(rescaled).pixels(), &[0.0, 1.0, 0.5, 0.5]);
    let voi = lut(&[4, 1, 8], data("OW", vec![0, 51, 102, 255]));
    let file = |voi| File::grey(2, &[0, 2, 3, 99]).sequence(0x0028, 0x3010, voi);
    close(&file(voi.clone()).pixels(), &[0.0, 0.2, 0.4, 1.0]);
    let two = [voi.clone(), lut(&[1, 0, 8], data("US", words(&[7])))].concat();
    close(&file(two).pixels(), &[0.0, 0.2, 0.4, 1.0]);
    close(&file(lut(&[4, 1, 8], data("US", words(&[0, 51, 102, 255])))).pixels(), &[0.0, 0.2, 0.4, 1.0]);
    // A window goes before a table.
    let both = file(voi).with(text(0x0028, 0x1050, "DS", "2.5")).with(text(0x0028, 0x1051, "DS", "2"));
    close(&both.pixels(), &[0.0, 0.5, 1.0, 1.0]);
    // 0 stands for 65 536 entries.
    let long = File::grey(2, &[0, 65535, 1000, 2000]);
    let reversed: Vec<u16> = (0..=65535).rev().collect();
    let long = long.sequence(0x0028, 0x3010, lut(&[0, 0, 16], data("OW", words(&reversed))));
    close(&long.pixels(), &[65535.0, 0.0, 64535.0, 63535.0].map(|v| v / 65535.0));
    for (shape, bytes, expected) in [
        (&[4, 0, 8][..], vec![0; 2], "LUTData (0028,3006): 1 entries, but 4 are announced"),
        (&[4, 0], vec![0; 8], "LUTDescriptor (0028,3002): three values"),
        (&[4, 0, 20], vec![0; 8], "LUTDescriptor (0028,3002): entries of 20 bits"),
    ] {
        let error = file(lut(shape, data("OW", bytes))).error();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn colour_is_luma() {
    let pixels = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30_u8]];
    let expected = [0.299, 0.587, 0.114, (2.99 + 11.74 + 3.42) / 255.0];
    close(&File::colour("RGB", 0, pixels.as_flattened()).pixels(), &expected);
    let planes: Vec<u8> = (0..3).flat_map(|c| pixels.map(|p| p[c])).collect();
    close(&File::colour("RGB", 1, &planes).pixels(), &expected);
    close(&File::colour("YBR_FULL", 0, pixels.as_flattened()).pixels(), &[1.0, 0.0, 0.0, 10.0 / 255.0]);
    assert!(
        File::colour("YBR_FULL_422", 0, &[0; 8]).error().contains("(0028,0004): YBR_FULL_422 is only read as JPEG")
    );
    assert!(File::colour("PALETTE COLOR", 0, &[0; 12]).error().contains("(0028,0004): PALETTE COLOR is not read"));
}

#[test]
fn spacing_is_that_of_the_body_before_the_detector() {
    let file = || File::grey(2, &[0; 4]);
    let spacing = |file: File| file.read().unwrap().1;
    let imager = text(0x0018, 0x1164, "DS", "0.2\\0.2");
    assert_eq!(spacing(file().with(imager.clone())), Some([0.2, 0.2]));
    // Rows are apart along y: the first number.
    assert_eq!(spacing(file().with(imager.clone()).with(text(0x0028, 0x0030, "DS", "0.15\\ 0.1"))), Some([0.1, 0.15]));
    assert_eq!(spacing(file().with(text(0x0018, 0x2010, "DS", "0.3\\0.3"))), Some([0.3, 0.3]));
    assert_eq!(spacing(file().with(imager).with(text(0x0028, 0x0030, "DS", ""))), Some([0.2, 0.2]));
    for value in ["0\\0", "0.1", "0.1\\-0.1", "a\\b", "1e999\\1", "0.1\\nan"] {
        let error = file().with(text(0x0028, 0x0030, "DS", value)).error();
        assert!(error.starts_with("x.dcm: PixelSpacing (0028,0030): "), "{value}: {error}");
    }
}

#[test]
fn what_is_no_picture_is_refused_with_its_attribute() {
    let file = || File::grey(2, &[0, 1, 2, 3]);
    for (file, expected) in [
        (file().without(0x7fe0, 0x0010), "a DICOM file without pixel data (Modality DX)"),
        (file().with(text(0x0028, 0x0008, "IS", "12")), "NumberOfFrames (0028,0008): 12 frames, but an image is one"),
        (file().without(0x0028, 0x0010), "Rows (0028,0010): missing"),
        (file().without(0x0028, 0x0004), "PhotometricInterpretation (0028,0004): missing"),
        (file().with(us(0x0028, 0x0011, 0)), "Columns (0028,0011): 0 is not read, only 1..=65535"),
        (file().with(us(0x0028, 0x0100, 32)), "BitsAllocated (0028,0100): 32 is not read"),
        (file().with(us(0x0028, 0x0100, 12)), "BitsAllocated (0028,0100): 12 is neither 8 nor 16"),
        (file().with(us(0x0028, 0x0101, 17)), "BitsStored (0028,0101): 17"),
        (file().with(us(0x0028, 0x0102, 16)), "HighBit (0028,0102): 16"),
        (file().with(us(0x0028, 0x0002, 3)), "SamplesPerPixel (0028,0002): 3 is not read, only 1"),
        (file().with(us(0x0028, 0x0010, 3)), "truncated: 4 values of pixels, but 2 x 3 x 1 need 6"),
        (file().with(text(0x0028, 0x1053, "DS", "1e308")), "RescaleSlope (0028,1053): values beyond all measure"),
        (file().with(text(0x0028, 0x1053, "DS", "0")), "RescaleSlope (0028,1053): 0 makes all pixels alike"),
        (file().with(text(0x0028, 0x1053, "DS", "1,5")), "RescaleSlope (0028,1053): \"1,5\" is not a number"),
        (file().encoded(JPEG_2000), "compressed as JPEG 2000 Image Compression (Lossless Only), which is not read"),
        (file().encoded("1.2.840.10008.1.2.1.99"), "Deflated Explicit VR Little Endian, which is not read"),
        (file().encoded("1.2.3"), "TransferSyntaxUID (0002,0010): \"1.2.3\" is no transfer syntax known here"),
    ] {
        let error = match file.syntax {
            JPEG_2000 => read_bytes(&file.fragments(JPEG_2000, &[&[0; 8]])).unwrap_err().to_string(),
            _ => file.error(),
        };
        assert!(error.starts_with("x.dcm: ") && error.contains(expected), "{error}");
    }
    // A length that is less than a number's.
    let mut short = file().with(((0x0028, 0x0010), "US", vec![])).bytes();
    let at = short.windows(8).position(|w| w == b"\x28\0\x10\0US\0\0").unwrap();
    short[at + 6] = 1;
    short.push(0);
    assert!(read_bytes(&short).unwrap_err().to_string().contains("Rows (0028,0010): \"\" is not a number"));
    let window = |width| file().with(text(0x0028, 0x1050, "DS", "5")).with(text(0x0028, 0x1051, "DS", width));
    assert!(window("0").error().contains("WindowWidth (0028,1051): 0 shows nothing"));
    assert!(window("9").with(text(0x0028, 0x1056, "CS", "LOG")).error().contains("(0028,1056): LOG is not read"));
    let limit = |_| Err(Error::input("x.dcm", "over 64 megapixels"));
    assert!(read(&file().bytes(), Path::new("x.dcm"), limit).unwrap_err().to_string().contains("megapixels"));
}

#[test]
fn rle_and_jpeg() {
    let values: Vec<u16> = (0..64 * 48).map(|i| (i * i / 37 % 61_000) as u16).collect();
    let file = || File::grey(64, &values);
    let mut frame = [words(&[2, 0, 64, 0]), vec![0; 56]].concat();
    for (segment, shift) in [8, 0].into_iter().enumerate() {
        let start = (frame.len() as u32).to_le_bytes();
        frame[4 + 4 * segment..8 + 4 * segment].copy_from_slice(&start);
        values
            .chunks(128)
            .for_each(|part| frame.extend([127].into_iter().chain(part.iter().map(|v| (v >> shift) as u8))));
    }
    assert_eq!(read_bytes(&file().fragments(RLE, &[&frame])).unwrap().0.pixels, file().pixels());
    let (first, second) = frame.split_at(2000);
    assert_eq!(read_bytes(&file().fragments(RLE, &[first, second])).unwrap().0.pixels, file().pixels());
    let error = read_bytes(&file().fragments(RLE, &[first])).unwrap_err().to_string();
    assert!(error.contains("truncated or damaged: its RLE pixel data"), "{error}");

    let lossless = lossless_jpeg(64, &values);
    assert_eq!(read_bytes(&file().fragments(JPEG_LOSSLESS, &[&lossless])).unwrap().0.pixels, file().pixels());
    let other = File::grey(48, &values).fragments(JPEG_LOSSLESS, &[&lossless]);
    let error = read_bytes(&other).unwrap_err().to_string();
    assert!(error.contains("its JPEG has 64x48 pixels, but Columns and Rows say 48x64"), "{error}");
    for end in (0..lossless.len() - 2).step_by(97) {
        let cut = [&lossless[..end], &[0xff, 0xd9]].concat();
        assert!(read_bytes(&file().fragments(JPEG_LOSSLESS, &[&cut])).is_err(), "cut at {end}");
    }
}

#[test]
fn baseline_jpeg_is_luma_whatever_its_colours() {
    use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
    let image = RgbImage::from_fn(48, 32, |x, y| Rgb([(x * 5) as u8, (y * 7) as u8, 90]));
    let mut jpeg = std::io::Cursor::new(Vec::new());
    DynamicImage::from(image.clone()).write_to(&mut jpeg, ImageFormat::Jpeg).unwrap();
    let jpeg = jpeg.into_inner();
    let expected: Vec<f32> = image.pixels().map(|p| luma(p.0, 255.0)).collect();
    for photometric in ["YBR_FULL_422", "YBR_FULL", "RGB"] {
        let file = File::colour(photometric, 0, &[]).with(us(0x0028, 0x0010, 32)).with(us(0x0028, 0x0011, 48));
        let (image, _) = read_bytes(&file.fragments(JPEG_BASELINE, &[&jpeg])).unwrap();
        let worst = image.pixels.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(worst < 0.06, "{photometric}: {worst}");
    }
}

#[test]
fn damaged_files_are_errors_and_never_panic() {
    let values: Vec<u16> = (0..30).map(|i| i * 2000).collect();
    let lut = vec![vec![((0x0028, 0x3002), "US", words(&[2, 0, 16])), ((0x0028, 0x3006), "OW", words(&[0, 9]))]];
    let plain = || File::grey(6, &values).sequence(0x0028, 0x3010, lut.clone());
    let lossless = lossless_jpeg(6, &values);
    let mut files = [EXPLICIT, IMPLICIT, BIG_ENDIAN].map(|syntax| plain().encoded(syntax).bytes()).to_vec();
    files.push(plain().fragments(JPEG_LOSSLESS, &[&lossless]));
    files.push(plain().fragments(RLE, &[&[words(&[2, 0, 64, 0, 80, 0]), vec![0; 52], vec![7; 62]].concat()]));
    let mut state = 1_u32;
    for file in &files {
        for end in 0..file.len() {
            if let Ok((image, _)) = read_bytes(&file[..end]) {
                assert!(end + 20 > file.len(), "cut at {end} of {}: {image:?}", file.len());
            }
        }
        for _ in 0..4000 {
            let mut damaged = file.clone();
            for _ in 0..3 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                damaged[132 + (state >> 8) as usize % (file.len() - 132)] = (state >> 3) as u8;
            }
            let _ = (read_bytes(&damaged), size(&damaged, Path::new("x")));
        }
    }
}

#[test]
fn file_meta_information_need_not_announce_its_length() {
    let bytes = File::grey(2, &[0, 1, 2, 3]).bytes();
    let without = [&bytes[..132], &bytes[144..]].concat();
    assert_eq!(read_bytes(&without).unwrap(), read_bytes(&bytes).unwrap());
    let mut wrong = bytes.clone();
    wrong[140] += 40;
    assert_eq!(read_bytes(&wrong).unwrap(), read_bytes(&bytes).unwrap());
    let error = read_bytes(&[&bytes[..132], &bytes[164..]].concat()).unwrap_err().to_string();
    assert!(error.contains("no TransferSyntaxUID (0002,0010)"), "{error}");
}

#[test]
fn deep_nesting_and_huge_lengths_cost_nothing() {
    let mut deep = File::grey(2, &[0; 4]).without(0x7fe0, 0x0010).bytes();
    for _ in 0..200_000 {
        header(&mut deep, EXPLICIT, (0x0040, 0xa730), "SQ", UNDEFINED);
        header(&mut deep, IMPLICIT, (0xfffe, 0xe000), "", UNDEFINED);
    }
    assert!(read_bytes(&deep).unwrap_err().to_string().contains("without pixel data"));
    let mut huge = File::grey(2, &[0; 4]).without(0x7fe0, 0x0010).bytes();
    header(&mut huge, EXPLICIT, (0x7fe0, 0x0010), "OW", 0xffff_fff0);
    assert!(read_bytes(&huge).unwrap_err().to_string().contains("the value of (7FE0,0010) is cut short"));
    // A value of backslashes would be a list of as many strings.
    let many = File::grey(2, &[0; 4]).with(((0x0028, 0x9999), "UN", vec![b'\\'; 1 << 20]));
    assert!(many.read().is_ok());
}
