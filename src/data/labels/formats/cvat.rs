//! CVAT's XML for images, version 1.1: a `points` shape of one point a landmark, alone or in a skeleton.
//!
//! Positions are measured from the image's corner: the centre of the first pixel is at (0.5, 0.5).

use super::builder::Builder;
use super::{Format, Holds, Source, Spacing, Target};
use crate::data::labels::{Labels, shown};
use crate::error::{Error, Result};
use roxmltree::{Document, Node, ParsingOptions};
use std::collections::HashSet;
use std::fmt::Write;

pub(super) const FORMAT: Format = Format {
    name: "cvat",
    title: "CVAT for images 1.1",
    ending: ".xml",
    per_image: false,
    holds: Holds { missing: false, ..Holds::ALL },
    landmarks: &[],
    spacing: Spacing::Unused,
    read,
    write: Some(write),
};

/// The most elements and attributes: what keeps a hostile file from exhausting memory.
const MAX_NODES: u32 = 1 << 24;

fn read(source: &Source, builder: &mut Builder) -> Result<()> {
    let options = ParsingOptions { nodes_limit: MAX_NODES, ..ParsingOptions::default() };
    let document = Document::parse_with_options(source.text, options)
        .map_err(|e| Error::input(source.path, format!("not XML: {e}")))?;
    let root = document.root_element();
    if root.tag_name().name() != "annotations" {
        return Err(Error::input(source.path, "not of CVAT: its root is not <annotations>"));
    }
    let points = |node: Node| node.descendants().any(|d| d.tag_name().name() == "points");
    if root.children().any(|child| child.tag_name().name() == "track" && points(child)) {
        return Err(Error::input(source.path, "tracks of a video; export the task as CVAT for images 1.1"));
    }
    name_landmarks(root, builder);
    for image in root.children().filter(|child| child.tag_name().name() == "image") {
        let at = |node: &Node, cause: String| {
            source.fault(format!("line {}", document.text_pos_at(node.range().start).row), cause)
        };
        let text = |node: &Node, name: &str| {
            node.attribute(name).map(ToOwned::to_owned).ok_or_else(|| at(node, format!("no attribute {name}")))
        };
        let extent = |name: &str| image.attribute(name)?.parse().ok().filter(|&extent: &u32| extent > 0);
        let declared = extent("width").zip(extent("height"));
        let Some((name, size)) = source.image(&text(&image, "name")?, declared, builder)? else { continue };
        builder.image(name, size);
        for shape in image.descendants().filter(|node| node.is_element()) {
            match shape.tag_name().name() {
                "points" => {
                    let label = text(&shape, "label")?;
                    let place = place(&text(&shape, "points")?).map_err(|cause| at(&shape, cause))?;
                    // A skeleton's point that is switched off still has a position.
                    let point = (shape.attribute("outside") != Some("1")).then_some(place);
                    builder
                        .point(&label, point, point.and_then(|_| score(&shape)))
                        .map_err(|cause| at(&shape, cause))?;
                }
                "image" | "skeleton" | "attribute" => {}
                _ => builder.leave_out("shapes that are no points"),
            }
        }
    }
    Ok(())
}

/// The labels in the task's order: those that are made for points, and those that points have.
fn name_landmarks(root: Node, builder: &mut Builder) {
    let shapes = root.descendants().filter(|node| node.tag_name().name() == "points");
    let used: HashSet<&str> = shapes.filter_map(|shape| shape.attribute("label")).collect();
    for label in root.descendants().filter(|node| node.tag_name().name() == "label") {
        if let Some(name) = child_text(label, "name")
            && (child_text(label, "type") == Some("points") || used.contains(name))
        {
            builder.landmark(name);
        }
    }
}

fn child_text<'a>(node: Node<'a, '_>, tag: &str) -> Option<&'a str> {
    node.children().find(|child| child.tag_name().name() == tag)?.text()
}

fn place(points: &str) -> Result<[f64; 2], String> {
    if points.contains(';') {
        let n = points.split(';').count();
        return Err(format!("a shape of {n} points; give each landmark a label and a shape of its own"));
    }
    let place = points.split_once(',').and_then(|(x, y)| Some([x.trim().parse().ok()?, y.trim().parse().ok()?]));
    let [x, y]: [f64; 2] = place.ok_or_else(|| format!("points={} is not x,y", shown(points)))?;
    Ok([x - 0.5, y - 0.5])
}

/// The attribute `score`, if it is one.
fn score(shape: &Node) -> Option<f64> {
    let score = shape.children().find(|child| child.attribute("name") == Some("score"))?;
    score.text()?.trim().parse().ok().filter(|score| (0.0..=1.0).contains(score))
}

fn write(labels: &Labels, target: &Target) -> Result<String> {
    let with_scores = labels.rows.iter().flat_map(|row| &row.scores).any(Option::is_some);
    let escaped = |text: &str| escape(text).map_err(|cause| Error::input(target.path, cause));
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<annotations>\n  <version>1.1</version>\n");
    let attribute = match with_scores {
        true => {
            "<attribute><name>score</name><mutable>False</mutable><input_type>text</input_type>\
                 <default_value></default_value><values></values></attribute>"
        }
        false => "",
    };
    xml += "  <meta>\n    <task>\n";
    let _ = writeln!(xml, "      <size>{}</size>\n      <mode>annotation</mode>", labels.rows.len()); // cannot fail
    xml += "      <labels>\n";
    for name in &labels.names {
        let name = escaped(name)?;
        let _ = writeln!(
            xml,
            "        <label><name>{name}</name><type>points</type><attributes>{attribute}</attributes></label>"
        );
    }
    xml += "      </labels>\n    </task>\n  </meta>\n";
    for (id, row) in labels.rows.iter().enumerate() {
        let (image, width, height) = (escaped(&row.image)?, row.width, row.height);
        let _ = writeln!(xml, "  <image id=\"{id}\" name=\"{image}\" width=\"{width}\" height=\"{height}\">");
        for (k, name) in labels.names.iter().enumerate() {
            let Some([x, y]) = row.points[k] else { continue };
            let (name, x, y) = (escaped(name)?, x + 0.5, y + 0.5);
            let source = if with_scores { "auto" } else { "manual" };
            let _ = write!(
                xml,
                "    <points label=\"{name}\" source=\"{source}\" occluded=\"0\" points=\"{x},{y}\" z_order=\"0\">"
            );
            if let Some(score) = row.scores.get(k).copied().flatten() {
                let _ = write!(xml, "<attribute name=\"score\">{score}</attribute>");
            }
            xml += "</points>\n";
        }
        xml += "  </image>\n";
    }
    Ok(xml + "</annotations>\n")
}

/// Text for an element or attribute. XML has no way to write most control characters.
fn escape(text: &str) -> Result<String, String> {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\t' | '\n' | '\r' => _ = write!(escaped, "&#{};", c as u32), // as they stand they would become spaces
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => {
                return Err(format!("{} cannot be written as XML", shown(text)));
            }
            c => escaped.push(c),
        }
    }
    Ok(escaped)
}

#[cfg(test)]
mod tests {
    use super::super::round_trip::{read_text, refused};

    /// In the form of CVAT's documentation: a label that no point has, a skeleton with a point that is switched off, a box.
    const FILE: &str = r##"<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><id>4</id><name>feet</name><size>2</size><mode>annotation</mode><labels>
    <label><name>heel</name><color>#ff0000</color><type>points</type><attributes></attributes></label>
    <label><name>shoe</name><type>rectangle</type></label>
    <label><name>toe &amp; nail</name><type>any</type></label>
    <label><name>1</name><type>points</type><parent>leg</parent></label>
  </labels></task><dumped>2024-01-01 00:00:00.0+00:00</dumped></meta>
  <image id="0" name="left/1.png" width="1024" height="600">
    <skeleton label="leg" source="manual" z_order="0">
      <points label="2" source="manual" outside="1" occluded="0" points="1.00,2.00"></points>
      <points label="1" source="manual" outside="0" occluded="1" points="91.30,52.60"></points>
    </skeleton>
    <points label="toe &amp; nail" source="auto" occluded="0" points="574.90,939.48" z_order="5">
      <attribute name="score">0.75</attribute>
    </points>
    <box label="shoe" source="manual" occluded="0" xtl="1" ytl="2" xbr="3" ybr="4" z_order="0"></box>
  </image>
  <image id="1" name="2.png" width="8" height="9">
  </image>
</annotations>
"##;

    #[test]
    fn reads_the_documented_form() {
        let (labels, notes) = read_text("cvat", FILE, "c.xml");
        assert_eq!(labels.names, ["heel", "toe & nail", "2", "1"]);
        let [first, second] = &labels.rows[..] else { panic!("two images") };
        assert_eq!((first.image.as_str(), first.size(), second.points.len()), ("1.png", (1024.0, 600.0), 4));
        let place = |k: usize| first.points[k].map(|p| p.map(|v| (v * 100.0).round() / 100.0));
        assert_eq!([place(0), place(1), place(2), place(3)], [None, Some([574.4, 938.98]), None, Some([90.8, 52.1])]);
        assert_eq!(first.scores, [None, Some(0.75), None, None]);
        assert_eq!(notes, ["left out: shapes that are no points (1)"]);
    }

    #[test]
    fn faults_name_the_place() {
        for (from, to, words) in [
            ("574.90,939.48", "1,2;3,4;5,6", &["line 15: a shape of 3 points; give each landmark"][..]),
            ("574.90,939.48", "1;2", &["line 15"]),
            ("574.90,939.48", "1,x", &["line 15: points=\"1,x\" is not x,y"]),
            ("label=\"2\"", "label=\"1\"", &["line 13: landmark \"1\" is there twice"]),
            ("label=\"2\"", "", &["line 12: no attribute label"]),
            ("width=\"8\"", "width=\"none\"", &["no size of image \"2.png\"", "--images"]),
            ("</skeleton>", "", &["not XML: ", "skeleton"]),
            ("annotations>", "osm>", &["its root is not <annotations>"]),
            (
                "  <image id=\"1\"",
                "<track id=\"1\"><points/></track><image id=\"1\"",
                &["export the task as CVAT for images"],
            ),
        ] {
            refused("cvat", &FILE.replace(from, to), "c.xml", words);
        }
    }
}
