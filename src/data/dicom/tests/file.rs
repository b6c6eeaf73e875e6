//! A writer of DICOM files, attribute by attribute, for tests.

use crate::data::dicom::read;
use crate::data::gray::GrayImage;
use crate::data::labels::PixelSpacing;
use crate::error::Result;
use std::fmt::Write;
use std::path::Path;

pub const IMPLICIT: &str = "1.2.840.10008.1.2";
pub const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub const BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
pub const RLE: &str = "1.2.840.10008.1.2.5";
pub const JPEG_BASELINE: &str = "1.2.840.10008.1.2.4.50";
pub const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
pub const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";
/// How items of [`BIG_ENDIAN`] are headed.
const BIG_ENDIAN_ITEMS: &str = "big endian, without value representation";
pub const UNDEFINED: u32 = u32::MAX;

/// Group and element.
type Tag = (u16, u16);
/// An element's tag, value representation and value in little endian.
pub type Element = (Tag, &'static str, Vec<u8>);
type Item = Vec<Element>;

pub fn us(group: u16, element: u16, value: u16) -> Element {
    ((group, element), "US", value.to_le_bytes().into())
}

pub fn text(group: u16, element: u16, vr: &'static str, value: &str) -> Element {
    let mut bytes = value.as_bytes().to_vec();
    bytes.resize(bytes.len().next_multiple_of(2), b' ');
    ((group, element), vr, bytes)
}

pub fn words(values: &[u16]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// The file of a data set.
pub struct File {
    pub syntax: &'static str,
    elements: Vec<Element>,
    sequences: Vec<(Tag, Vec<Item>)>,
}

impl File {
    /// Grey pixels of 16 bits in rows of `columns`.
    pub fn grey(columns: u16, values: &[u16]) -> Self {
        let rows = (values.len() / usize::from(columns)) as u16;
        let elements = vec![
            text(0x0008, 0x0060, "CS", "DX"),
            us(0x0028, 0x0002, 1),
            text(0x0028, 0x0004, "CS", "MONOCHROME2"),
            us(0x0028, 0x0010, rows),
            us(0x0028, 0x0011, columns),
            us(0x0028, 0x0100, 16),
            us(0x0028, 0x0101, 16),
            us(0x0028, 0x0102, 15),
            us(0x0028, 0x0103, 0),
            ((0x7fe0, 0x0010), "OW", words(values)),
        ];
        Self { syntax: EXPLICIT, elements, sequences: vec![] }
    }

    pub fn colour(photometric: &str, planar: u16, bytes: &[u8]) -> Self {
        let depths = [us(0x0028, 0x0100, 8), us(0x0028, 0x0101, 8), us(0x0028, 0x0102, 7)];
        let file = Self::grey(2, &[0; 4]).with(us(0x0028, 0x0002, 3)).with(text(0x0028, 0x0004, "CS", photometric));
        let file = depths.into_iter().fold(file, Self::with);
        file.with(us(0x0028, 0x0006, planar)).with(((0x7fe0, 0x0010), "OB", bytes.into()))
    }

    /// With an element more, or another one.
    pub fn with(mut self, element: Element) -> Self {
        self.elements.retain(|(tag, _, _)| *tag != element.0);
        self.elements.push(element);
        self.elements.sort_by_key(|(tag, _, _)| *tag);
        self
    }

    pub fn without(mut self, group: u16, element: u16) -> Self {
        self.elements.retain(|(tag, _, _)| *tag != (group, element));
        self
    }

    pub fn sequence(mut self, group: u16, element: u16, items: Vec<Item>) -> Self {
        self.sequences.push(((group, element), items));
        self
    }

    pub fn encoded(self, syntax: &'static str) -> Self {
        Self { syntax, ..self }
    }

    /// With compressed pixel data in these fragments.
    pub fn fragments(self, syntax: &'static str, fragments: &[&[u8]]) -> Vec<u8> {
        let mut bytes = self.without(0x7fe0, 0x0010).encoded(syntax).bytes();
        header(&mut bytes, syntax, (0x7fe0, 0x0010), "OB", UNDEFINED);
        for fragment in [&[&[][..]], fragments].concat() {
            header(&mut bytes, IMPLICIT, (0xfffe, 0xe000), "", fragment.len() as u32);
            bytes.extend(fragment);
        }
        header(&mut bytes, IMPLICIT, (0xfffe, 0xe0dd), "", 0);
        bytes
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut uid = self.syntax.as_bytes().to_vec();
        uid.resize(uid.len().next_multiple_of(2), 0);
        let mut meta = Vec::new();
        element(&mut meta, EXPLICIT, &((0x0002, 0x0010), "UI", uid));
        let mut file = [&[0; 128][..], b"DICM"].concat();
        element(&mut file, EXPLICIT, &((0x0002, 0x0000), "UL", (meta.len() as u32).to_le_bytes().into()));
        file.extend(meta);
        let mut written: Vec<(Tag, Vec<u8>)> = Vec::new();
        for value in &self.elements {
            let mut bytes = Vec::new();
            element(&mut bytes, self.syntax, value);
            written.push((value.0, bytes));
        }
        for (tag, items) in &self.sequences {
            let mut bytes = Vec::new();
            header(&mut bytes, self.syntax, *tag, "SQ", UNDEFINED);
            for item in items {
                let mut inside = Vec::new();
                item.iter().for_each(|value| element(&mut inside, self.syntax, value));
                header(&mut bytes, self.item_syntax(), (0xfffe, 0xe000), "", inside.len() as u32);
                bytes.extend(inside);
            }
            header(&mut bytes, self.item_syntax(), (0xfffe, 0xe0dd), "", 0);
            written.push((*tag, bytes));
        }
        written.sort();
        file.extend(written.into_iter().flat_map(|(_, bytes)| bytes));
        file
    }

    /// Items never have a value representation.
    fn item_syntax(&self) -> &'static str {
        if self.syntax == BIG_ENDIAN { BIG_ENDIAN_ITEMS } else { IMPLICIT }
    }

    pub fn read(&self) -> Result<(GrayImage, Option<PixelSpacing>)> {
        read_bytes(&self.bytes())
    }

    pub fn pixels(&self) -> Vec<f32> {
        self.read().unwrap().0.pixels
    }

    pub fn error(&self) -> String {
        self.read().unwrap_err().to_string()
    }
}

fn element(to: &mut Vec<u8>, syntax: &str, (tag, vr, value): &Element) {
    header(to, syntax, *tag, vr, value.len() as u32);
    let wide = matches!(*vr, "US" | "SS" | "OW");
    match syntax == BIG_ENDIAN && wide {
        true => to.extend(value.as_chunks::<2>().0.iter().flat_map(|&[a, b]| [b, a])),
        false => to.extend(value),
    }
}

pub fn header(to: &mut Vec<u8>, syntax: &str, (group, element): Tag, vr: &str, length: u32) {
    let big = [BIG_ENDIAN, BIG_ENDIAN_ITEMS].contains(&syntax);
    let word = |v: u16| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    let long = |v: u32| if big { v.to_be_bytes() } else { v.to_le_bytes() };
    to.extend([word(group), word(element)].concat());
    match syntax {
        IMPLICIT | BIG_ENDIAN_ITEMS => to.extend(long(length)),
        _ if ["OB", "OW", "SQ", "UN"].contains(&vr) => {
            to.extend([vr.as_bytes(), &[0, 0]].concat());
            to.extend(long(length));
        }
        _ => {
            to.extend(vr.as_bytes());
            to.extend(word(length as u16));
        }
    }
}

pub fn read_bytes(bytes: &[u8]) -> Result<(GrayImage, Option<PixelSpacing>)> {
    read(bytes, Path::new("x.dcm"), Ok)
}

/// A grey image of 16 bits as lossless JPEG (ITU-T T.81, annex H): predicted from the left, every category a code of 5 bits.
pub fn lossless_jpeg(columns: u16, values: &[u16]) -> Vec<u8> {
    let rows = (values.len() / usize::from(columns)) as u16;
    let mut jpeg = vec![0xff, 0xd8, 0xff, 0xc3, 0, 11, 16];
    jpeg.extend([rows.to_be_bytes(), columns.to_be_bytes()].concat());
    jpeg.extend([1, 1, 0x11, 0]);
    jpeg.extend([0xff, 0xc4, 0, 19 + 17, 0]);
    jpeg.extend((1..=16).map(|length| if length == 5 { 17 } else { 0 }));
    jpeg.extend(0..17);
    jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 1, 0, 0]);
    let mut bits = String::new();
    for (i, &value) in values.iter().enumerate() {
        let predicted = match (i, i % usize::from(columns)) {
            (0, _) => 1 << 15,
            (_, 0) => values[i - usize::from(columns)],
            _ => values[i - 1],
        };
        let difference = i32::from(value.wrapping_sub(predicted) as i16);
        let category = (32 - difference.unsigned_abs().leading_zeros()) as usize;
        write!(bits, "{category:05b}").unwrap();
        let extra = if difference < 0 { difference - 1 + (1 << category) } else { difference };
        if (1..16).contains(&category) {
            write!(bits, "{extra:0category$b}").unwrap();
        }
    }
    bits += &"1".repeat(bits.len().next_multiple_of(8) - bits.len());
    for byte in bits.as_bytes().chunks(8) {
        let byte = byte.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
        jpeg.extend(if byte == 0xff { vec![0xff, 0] } else { vec![byte] });
    }
    [jpeg, vec![0xff, 0xd9]].concat()
}
