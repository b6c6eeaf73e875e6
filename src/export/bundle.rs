//! A model as a folder that any WebGPU host can run, with a page that detects in the browser.
//!
//! | file | what it holds |
//! |---|---|
//! | `model.json` | landmark names, resolutions, the template, the shape model |
//! | `plans/NAME-WxH.json` | a [`Program`] for frames of W x H pixels and its launches, one plan a frame that images can have |
//! | `shaders/NAME.wgsl` | the shaders that the launches name |
//! | `match.bin`, `net.bin` | parameters, little-endian f32, as the plans place them |
//! | `index.html`, `*.js`, `*.css` | the page, which is one such host |
//!
//! WebGPU lets a launch write through one binding only what it sees through no other, and a buffer is either read or written
//! by a launch. So all tensors are bound as writable, as natively, and no two of a launch overlap: parameters lie one after
//! another, not landmark after landmark.

use crate::data::files::write_atomic;
use crate::data::gray::{CONTRAST_FLOOR, CONTRAST_LEAST, CONTRAST_RANGE};
use crate::detect::{TOLERANCE, sharpest};
use crate::gpu::{Choice, shaders};
use crate::kernel::Operand;
use crate::learn::crops::VIEWS;
use crate::learn::dataset::Dataset;
use crate::learn::matching::{OUTSIDE, SHARP};
use crate::learn::shape_model::{DOUBT, LEAST, OUTLIER, ROUNDS, ShapeModel};
use crate::model::{Kind, Model};
use crate::plan::{Place, Program};
use crate::tape::{ALIGN, Layout, Region};
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The page's files.
const PAGE: [(&str, &str); 7] = [
    ("index.html", include_str!("../../web/index.html")),
    ("page.css", include_str!("../../web/page.css")),
    ("page.js", include_str!("../../web/page.js")),
    ("detector.js", include_str!("../../web/detector.js")),
    ("host.js", include_str!("../../web/host.js")),
    ("image.js", include_str!("../../web/image.js")),
    ("shape.js", include_str!("../../web/shape.js")),
];

/// A program and what a host launches for it.
#[derive(Serialize)]
struct Plan {
    program: Program,
    launches: Vec<Launch>,
}

/// A launch of a shader, which linearises its workgroups.
#[derive(Serialize)]
struct Launch {
    /// Which step of the program it belongs to.
    step: usize,
    shader: &'static str,
    /// The uniform block as 32-bit words, behind one word: the number of the launch's first workgroup.
    params: Vec<u32>,
    /// The tensor at each storage binding, from 1; none where the shader reads nothing.
    slots: Vec<Option<usize>>,
    /// Workgroups.
    groups: usize,
}

/// Writes the folder. A file that is there is replaced.
///
/// # Errors
/// [`Error::Io`]; [`Error::Input`] for a folder that is there and holds something else.
pub fn export(model: &Model, folder: &Path) -> Result<()> {
    let ours =
        |json: Vec<u8>| serde_json::from_slice::<serde_json::Value>(&json).is_ok_and(|v| v.get("onemark").is_some());
    let filled = folder.read_dir().is_ok_and(|mut files| files.next().is_some());
    // Others call their models so too.
    if filled && !std::fs::read(folder.join("model.json")).is_ok_and(ours) {
        return Err(Error::input(folder, "a folder with other files; choose a new one for the bundle"));
    }
    for part in ["plans", "shaders"] {
        let part = folder.join(part);
        std::fs::create_dir_all(&part).map_err(|e| Error::io(&part, "create", e))?;
    }
    let (matching, net) = model.header.layouts();
    let mut used = BTreeSet::new();
    for (weights, layout, flat) in [("match.bin", &matching, &model.matching), ("net.bin", &net, &model.net)] {
        let dense = Dense::new(layout, flat);
        write_atomic(folder.join(weights), bytemuck::cast_slice(&dense.values))?;
        for (name, program) in programs(model, weights == "match.bin")? {
            let plan = Plan::new(dense.place(program));
            used.extend(plan.launches.iter().map(|launch| launch.shader));
            write_json(&folder.join("plans").join(name + ".json"), &plan)?;
        }
    }
    for name in used {
        let shader = shaders::find(name).expect("a launch names a variant of the table");
        write_atomic(folder.join("shaders").join(format!("{name}.wgsl")), shader.source.as_bytes())?;
    }
    for (name, text) in PAGE {
        write_atomic(folder.join(name), text.as_bytes())?;
    }
    write_json(&folder.join("model.json"), &description(model))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    write_atomic(path, &serde_json::to_vec(value).expect("plain data is JSON"))
}

/// The programs of the matcher, or of the landmark model, for every frame that images may have.
fn programs(model: &Model, matcher: bool) -> Result<Vec<(String, Program)>> {
    let (header, config) = (&model.header, &model.header.config);
    let landmarks = header.landmarks.len();
    let named = |name: &str, [w, h]: [usize; 2], program: Program| (format!("{name}-{w}x{h}"), program);
    let whole = |name: &str, plan: &dyn Fn([usize; 2]) -> Result<Program>| {
        frames(config.global_side)
            .into_iter()
            .map(|frame| Ok(named(name, frame, plan(frame)?)))
            .collect::<Result<Vec<_>>>()
    };
    let image = |[w, h]: [usize; 2]| [1, 1, h, w, 1];
    match (matcher, header.kind) {
        (true, Kind::Joint) | (false, Kind::Match) => Ok(Vec::new()),
        (true, _) => {
            let look = whole("match", &|frame| config.matching.look_program(image(frame)))?;
            let locate = whole("locate", &|frame| config.matching.locate_program(frame, landmarks))?;
            Ok([look, locate].concat())
        }
        (false, Kind::Joint) => whole("joint", &|frame| config.joint.look_program(image(frame), landmarks, 1)),
        (false, kind) => {
            // A crop shows what its table says, whatever frame the image lies in.
            let side = config.local_side.next_multiple_of(Dataset::MULTIPLE);
            let images = [1, 1, side, side, 1];
            let program = config.crop.look_program(images, Region::Ema, header.extents(), landmarks, 1)?;
            Ok(vec![named(kind.name(), [side, side], program)])
        }
    }
}

/// Every frame, `[width, height]`, around images whose longer side has `side` pixels.
fn frames(side: usize) -> Vec<[usize; 2]> {
    let long = side.next_multiple_of(Dataset::MULTIPLE);
    let shorter = (Dataset::MULTIPLE..long).step_by(Dataset::MULTIPLE);
    shorter.flat_map(|short| [[short, long], [long, short]]).chain([[long, long]]).collect()
}

/// Parameters one after another, and where each went.
struct Dense {
    values: Vec<f32>,
    /// New offsets by old ones.
    offsets: BTreeMap<usize, usize>,
}

impl Dense {
    fn new(layout: &Layout, flat: &[f32]) -> Self {
        let mut dense = Self { values: Vec::new(), offsets: BTreeMap::new() };
        for index in 0..layout.parameters.len() {
            dense.offsets.insert(layout.place(index).0, dense.values.len());
            dense.values.extend(layout.extract(flat, index));
            dense.values.resize(dense.values.len().next_multiple_of(ALIGN), 0.0);
        }
        dense
    }

    /// The program with its parameters there.
    fn place(&self, mut program: Program) -> Program {
        for slot in program.slots.iter_mut().filter(|slot| slot.place == Place::Region(Region::Ema)) {
            slot.offset = self.offsets[&slot.offset];
            slot.operand = Operand::dense(slot.operand.shape);
        }
        program.regions.entry(Region::Ema).and_modify(|len| *len = self.values.len());
        program
    }
}

impl Plan {
    fn new(program: Program) -> Self {
        let choice = Choice::default();
        let launches = program.dispatches(&choice).map(|(step, dispatch, slots)| Launch {
            step,
            shader: dispatch.shader,
            params: bytemuck::pod_collect_to_vec(&dispatch.params),
            slots,
            groups: dispatch.groups,
        });
        Self { launches: launches.collect(), program }
    }
}

/// What a host must know besides the plans.
fn description(model: &Model) -> Value {
    let (header, config) = (&model.header, &model.header.config);
    let shape = |shape: &ShapeModel| {
        json!({
            "mean": shape.mean, "covariance": shape.covariance, "noise": shape.noise,
            "apart": shape.apart, "tolerance": TOLERANCE / config.shape.noise,
            "outlier": OUTLIER, "doubt": DOUBT, "own": shape.own, "least": LEAST, "rounds": ROUNDS,
        })
    };
    json!({
        "onemark": env!("CARGO_PKG_VERSION"),
        "kind": header.kind,
        "landmarks": header.landmarks,
        "spacing": header.spacing,
        "global_side": config.global_side,
        "local_side": config.local_side,
        "multiple": Dataset::MULTIPLE,
        "global_contrast": { "share": config.global_contrast, "range": CONTRAST_RANGE, "floor": CONTRAST_FLOOR, "least": CONTRAST_LEAST },
        "views": VIEWS[..config.views],
        "sharpest": sharpest(header.kind),
        "match": { "sharp": SHARP, "outside": OUTSIDE },
        "crop": { "side": config.crop.side, "sharp": config.crop.sharp() },
        "joint": { "sharp": config.joint.sharp() },
        "propose": { "outlier": config.propose.outlier, "prior": config.propose.prior },
        "template": { "points": model.template.points, "features": model.template.features.0 },
        "shape": model.shape.as_ref().map(shape),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::tests::model;

    #[test]
    fn no_two_tensors_of_a_launch_overlap() {
        for kind in Kind::ALL {
            let model = model(kind, 3, false);
            let (matching, net) = model.header.layouts();
            for (matcher, layout, flat) in [(true, &matching, &model.matching), (false, &net, &model.net)] {
                let dense = Dense::new(layout, flat);
                for (name, program) in programs(&model, matcher).unwrap() {
                    let Plan { program, launches } = Plan::new(dense.place(program));
                    for launch in launches {
                        let part = |&slot: &usize| {
                            let slot = &program.slots[slot];
                            (slot.place, slot.offset, slot.offset + slot.operand.span())
                        };
                        let mut parts: Vec<_> = launch.slots.iter().flatten().map(part).collect();
                        parts.sort_by_key(|&(place, start, _)| (format!("{place:?}"), start));
                        let apart = |pair: &[(Place, usize, usize)]| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1;
                        assert!(parts.windows(2).all(apart), "{name}: step {} of {}", launch.step, launch.shader);
                    }
                }
            }
        }
    }

    #[test]
    fn there_is_a_frame_for_every_image() {
        let frames = frames(70);
        assert_eq!(frames.len(), 9);
        for size in [[700, 30], [3, 900], [5, 5], [640, 481]] {
            let image = crate::data::gray::GrayImage::new(size[0], size[1], vec![0.0; size[0] * size[1]]).unwrap();
            let dataset = Dataset::new([&image], 70, 0.0);
            assert!(frames.contains(&[dataset.width, dataset.height]), "{size:?}");
        }
    }
}
