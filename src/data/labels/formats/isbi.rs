//! The annotations of the ISBI 2014 and 2015 challenges: a text an image, a line `x,y` for each of 19 landmarks, then
//! classes of the patient, which are not read.
//!
//! Positions are whole pixels of the challenge's images, all 1935x2400. So labels made on those images at another size are
//! scaled when they are written.

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::{Labels, same_shape, scale_point, shown};
use crate::error::{Error, Result};
use std::fmt::Write;

pub(super) const FORMAT: Format = Format {
    name: "isbi",
    title: "ISBI 2015 text",
    ending: ".txt",
    per_image: true,
    holds: Holds { scores: false, missing: false, fractions: false, ..Holds::ALL },
    landmarks: &[
        "sella",
        "nasion",
        "orbitale",
        "porion",
        "a_point",
        "b_point",
        "pogonion",
        "menton",
        "gnathion",
        "gonion",
        "lower_incisor",
        "upper_incisor",
        "upper_lip",
        "lower_lip",
        "subnasale",
        "soft_pogonion",
        "pns",
        "ans",
        "articulare",
    ],
    spacing: Spacing::Unused,
    read,
    write: Some(write),
};

const SIZE: (u32, u32) = (1935, 2400);

/// Whether a line is that of a landmark.
pub(super) fn point(line: &str) -> Option<[f64; 2]> {
    let (x, y) = line.split_once(',')?;
    let number = |text: &str| text.trim().parse().ok().filter(|v: &f64| v.is_finite());
    Some([number(x)?, number(y)?])
}

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let image = match source.images.is_empty() {
        true => format!("{}.bmp", source.own_stem()), // as the challenge's images are called
        false => match source.own_image(builder)? {
            Some((image, size)) if !same_shape(wide(size), wide(SIZE)) => {
                let cause = format!(
                    "image {} has {}x{} pixels, which is no scaling of the challenge's 1935x2400",
                    shown(&image),
                    size.0,
                    size.1
                );
                return Err(Error::input(source.path, cause));
            }
            Some((image, _)) => image,
            None => return Ok(()),
        },
    };
    builder.image(image, SIZE);
    let mut lines = source.text.lines();
    for (index, name) in FORMAT.landmarks.iter().enumerate() {
        let at = |cause: String| source.fault(format!("line {}", index + 1), cause);
        let line = lines
            .next()
            .ok_or_else(|| at(format!("missing; it is {name}'s, and each of 19 landmarks has a line x,y")))?;
        let place = point(line).ok_or_else(|| at(format!("{} is not x,y, the position of {name}", shown(line))))?;
        builder.point(name, Some(place), None).map_err(at)?;
    }
    match lines.next().and_then(point) {
        Some(_) => Err(source.fault("line 20", "another point, but the challenge has 19 landmarks")),
        None => Ok(()),
    }
}

fn wide((width, height): (u32, u32)) -> (f64, f64) {
    (width.into(), height.into())
}

fn write(labels: &Labels, target: &Target) -> Result<String> {
    let row = &labels.rows[0];
    let refuse = |cause: String| Err(Error::input_at(target.path, format!("image {}", shown(&row.image)), cause));
    if !same_shape(row.size(), wide(SIZE)) {
        return refuse(format!(
            "{}x{} pixels, which is no scaling of the challenge's 1935x2400",
            row.width, row.height
        ));
    }
    let mut text = String::new();
    for name in FORMAT.landmarks {
        let k = labels.names.iter().position(|known| known == name);
        let Some(p) = k.and_then(|k| row.points[k]) else {
            return refuse(format!(
                "no point for {name}, and ISBI 2015 text holds no missing points; leave the image out"
            ));
        };
        let [x, y] = scale_point(p, row.size(), wide(SIZE)).map(f64::round);
        let _ = writeln!(text, "{x},{y}"); // writing to a String cannot fail
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_text, refused};

    /// In the challenge's form: 19 points, 8 classes.
    fn file() -> String {
        let points = (1..20).map(|n| format!("{},{}\n", 800 + n, 1000 + n)).collect::<String>();
        points + "1\n1\n3\n3\n1\n4\n1\n2\n"
    }

    #[test]
    fn reads_the_documented_form() {
        let (labels, _) = read_text("isbi", &file(), "folder/151.txt");
        assert_eq!((labels.names[0].as_str(), labels.names[18].as_str()), ("sella", "articulare"));
        assert_eq!((labels.rows[0].image.as_str(), labels.rows[0].size()), ("151.bmp", (1935.0, 2400.0)));
        assert_eq!(
            (labels.rows[0].points[0], labels.rows[0].points[18]),
            (Some([801.0, 1001.0]), Some([819.0, 1019.0]))
        );
    }

    #[test]
    fn faults_name_the_place() {
        for (text, words) in [
            (file().replace("803,1003", "3"), &["line 3: \"3\" is not x,y, the position of orbitale"][..]),
            (file()[..22].into(), &["line 3: \"803,\" is not x,y"]),
            (file().replace("\n1\n1", "\n5,5\n1"), &["line 20: another point"]),
            (String::new(), &["line 1: missing; it is sella's"]),
        ] {
            refused("isbi", &text, "151.txt", words);
        }
    }
}
