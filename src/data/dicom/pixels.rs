//! Pixel data (PS3.5, section 8; PS3.3, C.7.6.3): from bytes, compressed or not, to stored values.

use jpeg_decoder::{ColorTransform, Decoder};

use super::dataset::{Attribute, Compression, DECOMPRESS, DataSet, PixelData};
use super::rle;
use crate::data::jpeg;
use crate::error::Result;

const SAMPLES: Attribute = Attribute::new(0x0028, 0x0002, "SamplesPerPixel");
const PHOTOMETRIC: Attribute = Attribute::new(0x0028, 0x0004, "PhotometricInterpretation");
const PLANAR: Attribute = Attribute::new(0x0028, 0x0006, "PlanarConfiguration");
const FRAMES: Attribute = Attribute::new(0x0028, 0x0008, "NumberOfFrames");
const ROWS: Attribute = Attribute::new(0x0028, 0x0010, "Rows");
const COLUMNS: Attribute = Attribute::new(0x0028, 0x0011, "Columns");
const BITS_ALLOCATED: Attribute = Attribute::new(0x0028, 0x0100, "BitsAllocated");
const BITS_STORED: Attribute = Attribute::new(0x0028, 0x0101, "BitsStored");
const HIGH_BIT: Attribute = Attribute::new(0x0028, 0x0102, "HighBit");
const REPRESENTATION: Attribute = Attribute::new(0x0028, 0x0103, "PixelRepresentation");
const MODALITY: Attribute = Attribute::new(0x0008, 0x0060, "Modality");

/// What values mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Photometric {
    /// The least value is white.
    Monochrome1,
    /// The least value is black.
    Monochrome2,
    /// Red, green, blue.
    Rgb,
    /// Luma first, then two of colour.
    Ybr,
}

/// How pixels are stored.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Layout {
    /// Pixels in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// What values mean.
    pub photometric: Photometric,
    /// Bits of a value.
    pub bits_stored: usize,
    /// Whether values are in two's complement.
    pub signed: bool,
    bits_allocated: usize,
    /// The place of a value's lowest bit.
    shift: usize,
    planar: bool,
    /// Colour whose two differences have half the columns.
    subsampled: bool,
}

impl Layout {
    /// Reads the attributes of pixels.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for missing pixel data, several frames, palettes, and other depths than 8 and 16 bits.
    pub fn of(data: &DataSet) -> Result<Self> {
        if matches!(data.pixels, PixelData::Missing) {
            let modality = data.text(&MODALITY).map(|modality| format!(" (Modality {modality})")).unwrap_or_default();
            return Err(data.refuse(format!("a DICOM file without pixel data{modality}, or with floating-point ones")));
        }
        if matches!(data.pixels, PixelData::Fragments(_)) {
            data.compression()?;
        }
        let frames = data.integer(&FRAMES, Some(1), 0..=i32::MAX as usize)?;
        if frames > 1 {
            let cause = format!("{frames} frames, but an image is one; export the frame as a file of its own");
            return Err(data.bad(&FRAMES, cause));
        }
        let text = data.text(&PHOTOMETRIC).ok_or_else(|| data.bad(&PHOTOMETRIC, "missing, but a picture needs it"))?;
        let (photometric, samples) = match text.as_str() {
            "MONOCHROME1" => (Photometric::Monochrome1, 1),
            "MONOCHROME2" => (Photometric::Monochrome2, 1),
            "RGB" => (Photometric::Rgb, 3),
            "YBR_FULL" | "YBR_FULL_422" => (Photometric::Ybr, 3),
            _ => {
                let cause = format!("{text} is not read, only MONOCHROME1, MONOCHROME2, RGB and YBR_FULL");
                return Err(data.bad(&PHOTOMETRIC, cause));
            }
        };
        data.integer(&SAMPLES, Some(1), samples..=samples)?;
        let bits_allocated = data.integer(&BITS_ALLOCATED, None, 8..=if samples == 1 { 16 } else { 8 })?;
        if bits_allocated % 8 != 0 {
            return Err(data.bad(&BITS_ALLOCATED, format!("{bits_allocated} is neither 8 nor 16")));
        }
        let least = if samples == 1 { 1 } else { 8 };
        let bits_stored = data.integer(&BITS_STORED, Some(bits_allocated), least..=bits_allocated)?;
        let high_bit = data.integer(&HIGH_BIT, Some(bits_stored - 1), bits_stored - 1..=bits_allocated - 1)?;
        Ok(Self {
            columns: data.integer(&COLUMNS, None, 1..=65535)?,
            rows: data.integer(&ROWS, None, 1..=65535)?,
            photometric,
            bits_stored,
            signed: data.integer(&REPRESENTATION, Some(0), 0..=1)? == 1,
            bits_allocated,
            shift: high_bit + 1 - bits_stored,
            planar: samples > 1 && data.integer(&PLANAR, Some(0), 0..=1)? == 1,
            subsampled: text == "YBR_FULL_422",
        })
    }

    /// Values of a pixel.
    pub fn samples(&self) -> usize {
        if matches!(self.photometric, Photometric::Monochrome1 | Photometric::Monochrome2) { 1 } else { 3 }
    }

    /// The bits of all values, pixel by pixel, each in the low [`Layout::bits_stored`] bits.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for pixel data that are cut short, do not fit, or are compressed otherwise than by
    /// RLE or JPEG.
    pub fn values(&self, data: &DataSet) -> Result<Vec<u16>> {
        let (samples, bytes) = (self.samples(), self.bits_allocated / 8);
        let pixels = self.columns * self.rows;
        let (stored, planar) = match &data.pixels {
            PixelData::Missing => (vec![], false),
            PixelData::Native(_) if self.subsampled => {
                return Err(data.bad(&PHOTOMETRIC, "YBR_FULL_422 is only read as JPEG"));
            }
            PixelData::Native(native) => (words(native, bytes), self.planar),
            PixelData::Fragments(fragments) => {
                let frame = fragments.concat();
                match data.compression()? {
                    Compression::None => (words(&frame, bytes), self.planar),
                    Compression::Rle => {
                        let decoded = rle::decode(&frame, pixels, samples, bytes);
                        let decoded = decoded.ok_or_else(|| data.refuse("truncated or damaged: its RLE pixel data"))?;
                        (words(&decoded, bytes), true)
                    }
                    Compression::Jpeg => (self.jpeg(&frame, data)?, false),
                }
            }
        };
        if stored.len() < pixels * samples {
            let cause = format!(
                "truncated: {} values of pixels, but {} x {} x {samples} need {}",
                stored.len(),
                self.columns,
                self.rows,
                pixels * samples
            );
            return Err(data.refuse(cause));
        }
        let mask = u16::MAX >> (16 - self.bits_stored);
        let value = |i: usize| (stored[i] >> self.shift) & mask;
        Ok(match planar {
            true => (0..pixels * samples).map(|i| value(i % samples * pixels + i / samples)).collect(),
            false => (0..pixels * samples).map(value).collect(),
        })
    }

    /// Decodes a frame of JPEG, lossy with 8 bits or lossless; colour as [`Layout::photometric`] says.
    fn jpeg(&self, frame: &[u8], data: &DataSet) -> Result<Vec<u16>> {
        let bad = |e: jpeg_decoder::Error| data.refuse(format!("its JPEG cannot be read: {e}; {DECOMPRESS}"));
        let mut header = Decoder::new(frame);
        header.read_info().map_err(bad)?;
        let size = header.info().map(|info| (usize::from(info.width), usize::from(info.height)));
        if size != Some((self.columns, self.rows)) {
            let (w, h) = size.unwrap_or_default();
            let cause = format!("its JPEG has {w}x{h} pixels, but Columns and Rows say {}x{}", self.columns, self.rows);
            return Err(data.refuse(cause));
        }
        // JFIF is YCbCr, whatever the attributes say; else values stay as they are, which the decoder calls RGB.
        let jfif = frame.get(6..11) == Some(b"JFIF\0");
        let transform = match self.photometric {
            Photometric::Rgb if jfif => ColorTransform::YCbCr,
            _ => ColorTransform::RGB,
        };
        let decode = |frame: &[u8]| {
            let mut decoder = Decoder::new(frame);
            decoder.set_color_transform(transform);
            decoder.decode()
        };
        let decoded = decode(frame).map_err(bad)?;
        // This decoder takes offence at what stands behind the data only if it needs them: then it has nothing like the same.
        let whole = jpeg::check_whole(frame, &decoded, |longer| Ok(decode(longer).unwrap_or_default()));
        whole.map_err(|cause| data.refuse(cause))?;
        // The decoder gives more than 8 bits in the machine's own order of bytes.
        let values = self.columns * self.rows * self.samples();
        match decoded.len() {
            len if len == values => Ok(decoded.into_iter().map(u16::from).collect()),
            len if len == 2 * values => {
                Ok(decoded.as_chunks().0.iter().map(|&pair| u16::from_ne_bytes(pair)).collect())
            }
            len => Err(data.refuse(format!("its JPEG has {len} bytes of values, not {values}"))),
        }
    }
}

/// Values of one byte, or of two in little endian.
fn words(stored: &[u8], bytes: usize) -> Vec<u16> {
    match bytes {
        1 => stored.iter().map(|&v| v.into()).collect(),
        _ => stored.as_chunks().0.iter().map(|&pair| u16::from_le_bytes(pair)).collect(),
    }
}
