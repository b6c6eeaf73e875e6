//! RLE Lossless (PS3.5, annex G): one PackBits segment for each byte of each sample, the most significant byte first.

/// Bytes of the header: the number of segments and 15 offsets, little endian.
const HEADER: usize = 64;

/// The samples of a frame, sample by sample (planar), each of `bytes` bytes, little endian.
///
/// `pixels` is the number of pixels; `None` if the segments are not those of such a frame.
pub fn decode(frame: &[u8], pixels: usize, samples: usize, bytes: usize) -> Option<Vec<u8>> {
    let word = |i: usize| Some(u32::from_le_bytes(frame.get(4 * i..4 * i + 4)?.try_into().ok()?) as usize);
    let segments = samples * bytes;
    if word(0)? != segments || segments >= HEADER / 4 {
        return None;
    }
    let mut decoded = vec![0; pixels * segments];
    for segment in 0..segments {
        let start = word(1 + segment)?;
        let end = if segment + 1 < segments { word(2 + segment)? } else { frame.len() };
        let (sample, significance) = (segment / bytes, bytes - 1 - segment % bytes);
        let plane = decoded[sample * pixels * bytes..].iter_mut().skip(significance).step_by(bytes).take(pixels);
        unpack(frame.get(start.max(HEADER)..end)?, plane)?;
    }
    Some(decoded)
}

/// Fills `out`; `None` if the segment ends before.
fn unpack<'a>(mut packed: &[u8], mut out: impl ExactSizeIterator<Item = &'a mut u8>) -> Option<()> {
    while out.len() > 0 {
        let (&code, rest) = packed.split_first()?;
        packed = match code {
            0..=127 => {
                let (literal, rest) = rest.split_at_checked(usize::from(code) + 1)?;
                literal.iter().zip(out.by_ref()).for_each(|(&from, to)| *to = from);
                rest
            }
            128 => rest,
            129..=255 => {
                let (&value, rest) = rest.split_first()?;
                out.by_ref().take(257 - usize::from(code)).for_each(|to| *to = value);
                rest
            }
        };
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs of two or more as runs, all else as literals.
    fn pack(plane: &[u8]) -> Vec<u8> {
        let mut packed = Vec::new();
        for group in plane.chunk_by(|a, b| a == b).flat_map(|run| run.chunks(128)) {
            let code = if group.len() == 1 { 0 } else { (257 - group.len()) as u8 };
            packed.extend([code, group[0]]);
        }
        packed.push(128);
        packed
    }

    fn encode(planes: &[Vec<u8>]) -> Vec<u8> {
        let packed: Vec<Vec<u8>> = planes.iter().map(|plane| pack(plane)).collect();
        let mut frame = (planes.len() as u32).to_le_bytes().to_vec();
        let mut offset = HEADER as u32;
        for segment in &packed {
            frame.extend(offset.to_le_bytes());
            offset += segment.len() as u32;
        }
        frame.resize(HEADER, 0);
        frame.extend(packed.concat());
        frame
    }

    #[test]
    fn round_trip_of_16_bits_and_colour() {
        let plane = |seed: usize| -> Vec<u8> { (0..1000).map(|i| (i * i / (200 + seed) % 7) as u8).collect() };
        let (high, low) = (plane(0), plane(1));
        let frame = encode(&[high.clone(), low.clone()]);
        let expected: Vec<u8> = low.iter().zip(&high).flat_map(|(&l, &h)| [l, h]).collect();
        assert_eq!(decode(&frame, 1000, 1, 2).unwrap(), expected);
        let colour = [plane(2), plane(3), plane(4)];
        assert_eq!(decode(&encode(&colour), 1000, 3, 1).unwrap(), colour.concat());
        for (pixels, samples, bytes) in [(1001, 1, 2), (1000, 3, 2), (1000, 1, 1), (1000, 16, 1)] {
            assert_eq!(decode(&frame, pixels, samples, bytes), None, "{pixels} {samples} {bytes}");
        }
        for end in 0..frame.len() - 1 {
            assert_eq!(decode(&frame[..end], 1000, 1, 2), None, "cut at {end}");
        }
    }

    #[test]
    fn literals_are_copied() {
        let mut frame = encode(&[vec![]]);
        frame.truncate(HEADER);
        frame.extend([2, 7, 8, 9, 128, 255, 5]);
        assert_eq!(decode(&frame, 5, 1, 1).unwrap(), [7, 8, 9, 5, 5]);
        assert_eq!(decode(&frame, 4, 1, 1).unwrap(), [7, 8, 9, 5], "a run may pass the end");
    }
}
