//! From stored values to grey (PS3.3, C.11.1 and C.11.2): modality, then values of interest (VOI), then polarity.

use super::dataset::{Attribute, DataSet};
use super::pixels::{Layout, Photometric};
use crate::error::Result;

const INTERCEPT: Attribute = Attribute::new(0x0028, 0x1052, "RescaleIntercept");
const SLOPE: Attribute = Attribute::new(0x0028, 0x1053, "RescaleSlope");
const CENTER: Attribute = Attribute::new(0x0028, 0x1050, "WindowCenter");
const WIDTH: Attribute = Attribute::new(0x0028, 0x1051, "WindowWidth");
const FUNCTION: Attribute = Attribute::new(0x0028, 0x1056, "VOILUTFunction");
const PADDING: Attribute = Attribute::new(0x0028, 0x0120, "PixelPaddingValue");
const DESCRIPTOR: Attribute = Attribute::new(0x0028, 0x3002, "LUTDescriptor");
const ENTRIES: Attribute = Attribute::new(0x0028, 0x3006, "LUTData");
const MODALITY_LUT: (u16, u16) = (0x0028, 0x3000);
const VOI_LUT: (u16, u16) = (0x0028, 0x3010);

/// A lookup table: `entries[0]` for values up to `first`, the last one for those beyond the end.
struct Lut {
    first: f64,
    entries: Vec<f64>,
    /// The largest entry that its bits allow.
    white: f64,
}

impl Lut {
    /// The table in the first item of a sequence, if there is one.
    fn of(data: &DataSet, (group, element): (u16, u16)) -> Result<Option<Self>> {
        let [descriptor, entries] = [DESCRIPTOR, ENTRIES].map(|attribute| attribute.within(group, element));
        let (Some(shape), Some(mut values)) = (data.numbers(&descriptor)?, data.numbers(&entries)?) else {
            return Ok(None);
        };
        // An unsigned count may be read as a signed one, and 0 stands for 65 536, which 16 bits cannot hold.
        let count = shape[0].rem_euclid(65536.0) as usize;
        let count = if count == 0 { 65536 } else { count };
        let (&[_, first, bits], true) = (&shape[..], shape.len() == 3) else {
            return Err(data.bad(&descriptor, "three values are needed"));
        };
        if !(1.0..=16.0).contains(&bits) {
            return Err(data.bad(&descriptor, format!("entries of {bits} bits are not read")));
        }
        if bits <= 8.0 && count > 1 && values.len() == count.div_ceil(2) {
            // Entries of 8 bits, two a word.
            values = values.iter().flat_map(|&word| [word % 256.0, (word / 256.0).floor()]).collect();
        }
        if values.len() < count {
            return Err(data.bad(&entries, format!("{} entries, but {count} are announced", values.len())));
        }
        values.truncate(count);
        Ok(Some(Self { first, entries: values, white: 2f64.powf(bits) - 1.0 }))
    }

    fn at(&self, value: f64) -> f64 {
        self.entries[(value - self.first).round().clamp(0.0, (self.entries.len() - 1) as f64) as usize]
    }
}

/// From stored values to those of the modality.
enum Modality {
    Rescale { slope: f64, intercept: f64 },
    Lut(Lut),
}

impl Modality {
    fn of(data: &DataSet) -> Result<Self> {
        if let Some(lut) = Lut::of(data, MODALITY_LUT)? {
            return Ok(Self::Lut(lut));
        }
        let slope = data.number(&SLOPE)?.unwrap_or(1.0);
        if slope == 0.0 {
            return Err(data.bad(&SLOPE, "0 makes all pixels alike; correct or remove it"));
        }
        Ok(Self::Rescale { slope, intercept: data.number(&INTERCEPT)?.unwrap_or(0.0) })
    }

    fn at(&self, stored: f64) -> f64 {
        match self {
            Self::Rescale { slope, intercept } => slope * stored + intercept,
            Self::Lut(lut) => lut.at(stored),
        }
    }

    /// What values between these two become, at least and at most.
    fn range(&self, [low, high]: [f64; 2]) -> [f64; 2] {
        match self {
            Self::Rescale { .. } => {
                let (a, b) = (self.at(low), self.at(high));
                [a.min(b), a.max(b)]
            }
            Self::Lut(lut) => [0.0, lut.white],
        }
    }
}

/// From values of the modality to `[0, 1]`.
enum Voi {
    Linear { low: f64, width: f64 },
    Sigmoid { center: f64, width: f64 },
    Lut(Lut),
}

impl Voi {
    /// The first window, else the first lookup table, if there is one.
    fn of(data: &DataSet) -> Result<Option<Self>> {
        let (Some(center), Some(width)) = (data.number(&CENTER)?, data.number(&WIDTH)?) else {
            return Ok(Lut::of(data, VOI_LUT)?.map(Self::Lut));
        };
        let function = data.text(&FUNCTION).unwrap_or_else(|| "LINEAR".into());
        let least = if function == "LINEAR" { 1.0 } else { f64::MIN_POSITIVE };
        if width < least {
            return Err(data.bad(&WIDTH, format!("{width} shows nothing; correct or remove it")));
        }
        match function.as_str() {
            // Widths count values: the window's ends are half a value inside.
            "LINEAR" => Ok(Some(Self::Linear { low: center - 0.5 - (width - 1.0) / 2.0, width: width - 1.0 })),
            "LINEAR_EXACT" => Ok(Some(Self::Linear { low: center - width / 2.0, width })),
            "SIGMOID" => Ok(Some(Self::Sigmoid { center, width })),
            _ => Err(data.bad(&FUNCTION, format!("{function} is not read, only LINEAR, LINEAR_EXACT and SIGMOID"))),
        }
    }

    fn at(&self, value: f64) -> f64 {
        match self {
            // A window of one value is a step.
            Self::Linear { low, width } if *width == 0.0 => f64::from(value > *low),
            Self::Linear { low, width } => ((value - low) / width).clamp(0.0, 1.0),
            Self::Sigmoid { center, width } => 1.0 / (1.0 + (-4.0 * (value - center) / width).exp()),
            Self::Lut(lut) => (lut.at(value) / lut.white).min(1.0),
        }
    }
}

/// The grey, in `[0, 1]`, of every value that [`Layout::bits_stored`] can hold; `values` are those of the image.
///
/// Without a window or table, the range of the stored bits is shown, as in other image files; but if there are more than 8 bits
/// of which the image's values fill less than half, their own range.
///
/// # Errors
/// [`Error::Input`](crate::Error::Input) for attributes that make no sense.
pub fn table(data: &DataSet, layout: &Layout, values: &[u16]) -> Result<Vec<f32>> {
    let modality = Modality::of(data)?;
    let count = 1_usize << layout.bits_stored;
    let stored = |bits: usize| match layout.signed && bits >= count / 2 {
        true => bits as f64 - count as f64,
        false => bits as f64,
    };
    let voi = match Voi::of(data)? {
        Some(voi) => voi,
        None => {
            let [low, high] = shown(data, layout, values, &modality, stored)?;
            Voi::Linear { low, width: high - low }
        }
    };
    let grey = |bits: usize| {
        let grey = voi.at(modality.at(stored(bits)));
        (if layout.photometric == Photometric::Monochrome1 { 1.0 - grey } else { grey }) as f32
    };
    let greys: Vec<f32> = (0..count).map(grey).collect();
    match greys.iter().any(|grey| grey.is_nan()) {
        true => Err(data.bad(&SLOPE, "values beyond all measure; correct or remove it")),
        false => Ok(greys),
    }
}

/// The range that is shown where nothing says it.
fn shown(
    data: &DataSet,
    layout: &Layout,
    values: &[u16],
    modality: &Modality,
    stored: impl Fn(usize) -> f64,
) -> Result<[f64; 2]> {
    let count = 1_usize << layout.bits_stored;
    let ends = if layout.signed { [count / 2, count / 2 - 1] } else { [0, count - 1] };
    let full = modality.range(ends.map(&stored));
    if layout.bits_stored <= 8 {
        return Ok(full);
    }
    let padding = data.number(&PADDING)?;
    let mut used = vec![false; count];
    values.iter().for_each(|&bits| used[usize::from(bits)] = true);
    let shown = (0..count).filter(|&bits| used[bits] && Some(stored(bits)) != padding);
    let [low, high] = shown
        .map(|bits| modality.at(stored(bits)))
        .fold([f64::MAX, f64::MIN], |[low, high], v| [low.min(v), high.max(v)]);
    let fills = high - low >= (full[1] - full[0]) / 2.0;
    Ok(if fills || high <= low { full } else { [low, high] })
}
