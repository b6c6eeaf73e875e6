//! What of a DICOM file makes its picture: the attributes with their values, and the pixel data where they lie.
//!
//! The file is read token by token, without recursion, and no more is allocated than it holds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::io::Cursor;
use std::path::Path;

use dicom_core::{PrimitiveValue, Tag, VR};
use dicom_parser::StatefulDecode;
use dicom_parser::dataset::LazyDataToken;
use dicom_parser::dataset::lazy_read::LazyDataSetReader;
use dicom_transfer_syntax_registry::{TransferSyntax, TransferSyntaxIndex, TransferSyntaxRegistry};

use crate::error::{Error, Result};

/// Where the file meta information begins, behind a preamble and `DICM`.
const META_AT: usize = 132;
/// The longest value that is kept: a lookup table of 65 536 entries of 16 bits has 128 KiB.
const MAX_VALUE_BYTES: usize = 256 << 10;

const EXPLICIT_LITTLE_ENDIAN: &str = "1.2.840.10008.1.2.1";
const EXPLICIT_BIG_ENDIAN: &str = "1.2.840.10008.1.2.2";
/// What can be done about compression that is not read.
pub const DECOMPRESS: &str = "decompress it first, as with `gdcmconv --raw`";
const TRANSFER_SYNTAX: Attribute = Attribute::new(0x0002, 0x0010, "TransferSyntaxUID");
const PIXEL_DATA: Tag = Tag(0x7fe0, 0x0010);

/// An attribute of the data set, or of the first item of one of its sequences.
#[derive(Clone, Copy)]
pub struct Attribute {
    sequence: Option<Tag>,
    tag: Tag,
    name: &'static str,
}

impl Attribute {
    /// An attribute of the data set, by its tag and keyword in PS3.6.
    pub const fn new(group: u16, element: u16, name: &'static str) -> Self {
        Self { sequence: None, tag: Tag(group, element), name }
    }

    /// The same attribute in the first item of a sequence.
    pub const fn within(self, group: u16, element: u16) -> Self {
        Self { sequence: Some(Tag(group, element)), ..self }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.tag)
    }
}

/// Pixel data as stored.
pub enum PixelData<'a> {
    /// There are none.
    Missing,
    /// Uncompressed; words in little endian.
    Native(Cow<'a, [u8]>),
    /// Cut into fragments, and mostly compressed; the offset table is left out.
    Fragments(Vec<&'a [u8]>),
}

/// How fragments are compressed.
pub enum Compression {
    /// Not at all.
    None,
    /// RLE Lossless.
    Rle,
    /// JPEG of any process.
    Jpeg,
}

/// A file's attributes that matter to its picture, and its pixel data.
pub struct DataSet<'a> {
    path: &'a Path,
    syntax: &'static TransferSyntax,
    values: BTreeMap<(Option<Tag>, Tag), PrimitiveValue>,
    /// The pixel data.
    pub pixels: PixelData<'a>,
}

impl<'a> DataSet<'a> {
    /// Reads a whole file; `path` is for messages.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that is damaged, truncated, or of an unknown transfer syntax.
    pub fn read(bytes: &'a [u8], path: &'a Path) -> Result<Self> {
        let bad = |cause: &str| Error::input(path, format!("damaged DICOM file: {cause}"));
        let start = meta_end(bytes).ok_or_else(|| bad("its file meta information is cut short"))?;
        let syntax = |uid: &str| TransferSyntaxRegistry.get(uid);
        let explicit = syntax(EXPLICIT_LITTLE_ENDIAN).expect("the registry has the base syntaxes");
        let meta = Self::tokens(&bytes[..start], META_AT, explicit, path)?;
        let uid = meta.text(&TRANSFER_SYNTAX).ok_or_else(|| bad("no TransferSyntaxUID (0002,0010)"))?;
        let syntax = syntax(&uid).ok_or_else(|| {
            Error::input_at(path, TRANSFER_SYNTAX, format!("{uid:?} is no transfer syntax known here"))
        })?;
        if !syntax.can_decode_dataset() {
            return Err(unread(path, syntax));
        }
        Self::tokens(bytes, start, syntax, path)
    }

    fn tokens(bytes: &'a [u8], start: usize, syntax: &'static TransferSyntax, path: &'a Path) -> Result<Self> {
        let bad = |e: &dyn fmt::Display| Error::input(path, format!("truncated or damaged DICOM file: {e}"));
        let mut source = Cursor::new(bytes);
        source.set_position(start as u64);
        let mut reader = LazyDataSetReader::new_with_ts(source, syntax).map_err(|e| bad(&e))?;
        let mut set = Self { path, syntax, values: BTreeMap::new(), pixels: PixelData::Missing };
        // The sequences around the present place, and how many items the outermost has had.
        let (mut depth, mut outermost, mut items) = (0_usize, None, 0_usize);
        while let Some(token) = reader.advance() {
            match token.map_err(|e| bad(&e))? {
                LazyDataToken::SequenceStart { tag, .. } => {
                    if depth == 0 {
                        (outermost, items) = (Some(tag), 0);
                    }
                    depth += 1;
                }
                LazyDataToken::PixelSequenceStart => {
                    if depth == 0 {
                        (outermost, items) = (Some(PIXEL_DATA), 0);
                        set.pixels = PixelData::Fragments(Vec::new());
                    }
                    depth += 1;
                }
                LazyDataToken::ItemStart { .. } => items += usize::from(depth == 1),
                LazyDataToken::SequenceEnd => {
                    depth = depth.saturating_sub(1);
                    if depth == 0 && outermost.take() == Some(PIXEL_DATA) {
                        break;
                    }
                }
                LazyDataToken::LazyItemValue { len, decoder } => {
                    let value =
                        slice(bytes, decoder.position(), len).ok_or_else(|| bad(&"pixel data are cut short"))?;
                    // The first item is the offset table.
                    if let (PixelData::Fragments(fragments), 1, 2..) = (&mut set.pixels, depth, items) {
                        fragments.push(value);
                    }
                    decoder.skip_bytes(len).map_err(|e| bad(&e))?;
                }
                LazyDataToken::LazyValue { header, decoder } => {
                    let (tag, len) = (header.tag, header.len.0);
                    let cut = || bad(&format_args!("the value of {tag} is cut short"));
                    let value = slice(bytes, decoder.position(), len).ok_or_else(cut)?;
                    if depth == 0 && tag == PIXEL_DATA {
                        let bytes_only = syntax.uid() != EXPLICIT_BIG_ENDIAN || header.vr == VR::OB;
                        set.pixels = PixelData::Native(if bytes_only { value.into() } else { swapped(value).into() });
                        break;
                    }
                    let first = depth == 0 || (depth == 1 && items == 1);
                    if first && matters(tag) && value.len() <= MAX_VALUE_BYTES {
                        let value = decoder.read_value_preserved(&header).map_err(|e| bad(&e))?;
                        set.values.insert((outermost.filter(|_| depth == 1), tag), value);
                    } else {
                        decoder.skip_bytes(len).map_err(|e| bad(&e))?;
                    }
                }
                _ => {} // headers, whose values come next, and ends of items
            }
        }
        Ok(set)
    }

    /// An error about an attribute.
    pub fn bad(&self, attribute: &Attribute, cause: impl Into<String>) -> Error {
        Error::input_at(self.path, attribute, cause)
    }

    /// An error about the file.
    pub fn refuse(&self, cause: impl Into<String>) -> Error {
        Error::input(self.path, cause)
    }

    /// How fragments are compressed.
    ///
    /// # Errors
    /// [`Error::Input`] for what is not read.
    pub fn compression(&self) -> Result<Compression> {
        match self.syntax.uid() {
            "1.2.840.10008.1.2.5" => Ok(Compression::Rle),
            // Baseline, extended, and lossless with any predictor or the first.
            "1.2.840.10008.1.2.4.50" | "1.2.840.10008.1.2.4.51" => Ok(Compression::Jpeg),
            "1.2.840.10008.1.2.4.57" | "1.2.840.10008.1.2.4.70" => Ok(Compression::Jpeg),
            "1.2.840.10008.1.2.1.98" => Ok(Compression::None),
            _ if self.syntax.is_codec_free() => Ok(Compression::None),
            _ => Err(unread(self.path, self.syntax)),
        }
    }

    /// An attribute's first value as text without padding; none where it is missing or empty.
    pub fn text(&self, attribute: &Attribute) -> Option<String> {
        let value = self.values.get(&(attribute.sequence, attribute.tag))?.to_str();
        let first = value.split('\\').next()?.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!first.is_empty()).then(|| first.into())
    }

    /// All values of an attribute; none where it is missing or empty.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no finite number.
    pub fn numbers(&self, attribute: &Attribute) -> Result<Option<Vec<f64>>> {
        let value = match self.values.get(&(attribute.sequence, attribute.tag)) {
            None | Some(PrimitiveValue::Empty) => return Ok(None),
            Some(PrimitiveValue::Strs(_) | PrimitiveValue::Str(_)) if self.text(attribute).is_none() => {
                return Ok(None);
            }
            Some(value) => value,
        };
        match value.to_multi_float64() {
            // Of a length below that of a number none is read.
            Ok(numbers) if !numbers.is_empty() && numbers.iter().all(|v| v.is_finite()) => Ok(Some(numbers)),
            _ => Err(self.bad(attribute, format!("{:?} is not a number", self.text(attribute).unwrap_or_default()))),
        }
    }

    /// The first value of an attribute.
    ///
    /// # Errors
    /// As [`DataSet::numbers`].
    pub fn number(&self, attribute: &Attribute) -> Result<Option<f64>> {
        Ok(self.numbers(attribute)?.map(|numbers| numbers[0]))
    }

    /// The first value of an attribute, which must be an integer within `range`, or `default`, if it may be missing.
    ///
    /// # Errors
    /// [`Error::Input`].
    pub fn integer(
        &self,
        attribute: &Attribute,
        default: Option<usize>,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<usize> {
        let Some(value) = self.number(attribute)? else {
            return default.ok_or_else(|| self.bad(attribute, "missing, but a picture needs it"));
        };
        let fits = value.fract() == 0.0 && value >= *range.start() as f64 && value <= *range.end() as f64;
        if fits {
            return Ok(value as usize);
        }
        let only = if range.start() == range.end() { range.end().to_string() } else { format!("{range:?}") };
        Err(self.bad(attribute, format!("{value} is not read, only {only}")))
    }
}

/// Where the file meta information ends: elements of group 2, in explicit little endian whatever follows. The length that it
/// announces may be missing, and need not be true.
fn meta_end(bytes: &[u8]) -> Option<usize> {
    let mut at = META_AT;
    while bytes.get(at..)?.starts_with(&[2, 0]) {
        let (header, length) = match bytes.get(at + 4..at + 12)? {
            [b'O', b'B', 0, 0, length @ ..] => (12, u32::from_le_bytes(length.try_into().ok()?)),
            [_, _, low, high, ..] => (8, u16::from_le_bytes([*low, *high]).into()),
            _ => return None,
        };
        at = at.checked_add(header + length as usize).filter(|&at| at <= bytes.len())?;
    }
    Some(at)
}

fn unread(path: &Path, syntax: &TransferSyntax) -> Error {
    let cause = format!("compressed as {}, which is not read; {DECOMPRESS}", syntax.name());
    Error::input(path, cause)
}

/// Group 0028 describes pictures; of other groups only the spacings, and of the file's own the transfer syntax.
fn matters(tag: Tag) -> bool {
    matches!(tag, Tag(0x0028, _) | Tag(0x0018, 0x1164 | 0x2010) | Tag(0x0002, 0x0010) | Tag(0x0008, 0x0060))
}

fn slice(bytes: &[u8], position: u64, len: u32) -> Option<&[u8]> {
    let start = usize::try_from(position).ok()?;
    bytes.get(start..start.checked_add(len as usize)?)
}

/// Words in the other order of bytes.
fn swapped(words: &[u8]) -> Vec<u8> {
    words.as_chunks::<2>().0.iter().flat_map(|&[a, b]| [b, a]).collect()
}
