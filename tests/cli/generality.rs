//! One default configuration for all anatomies: few images and many landmarks, images of unequal sizes; nothing but the steps is set.

use crate::fixture::{Fixture, ok};
use onemark::data::images::write_png_gray;
use onemark::data::labels::{LabelRow, Labels};
use onemark::data::phantom::{LANDMARKS, phantom};

/// So few that a training takes seconds; what is tested is that it fits.
const STEPS: [&str; 8] =
    ["--set", "match.steps=2", "--set", "joint.steps=2", "--set", "single.steps=1", "--set", "fuse.steps=1"];

/// `images` phantoms of the given sizes in turn, with `landmarks` points each; returns the names.
fn draw(f: &Fixture, name: &str, images: usize, landmarks: usize, sizes: &[(usize, usize)]) -> Vec<String> {
    let folder = f.root.join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("images")).unwrap();
    let names: Vec<String> = (0..landmarks).map(|k| format!("p{k}")).collect();
    let mut labels = Labels { names: names.clone(), rows: vec![] };
    for index in 0..images {
        let (width, height) = sizes[index % sizes.len()];
        let drawn = phantom(5, index as u64, width, height);
        let pixels: Vec<u8> = drawn.pixels.iter().map(|v| (v * 255.0) as u8).collect();
        let image = format!("i{index:02}.png");
        write_png_gray(folder.join("images").join(&image), width as u32, height as u32, &pixels).unwrap();
        // Beyond the hand's own, points between two of them.
        let point = |k: usize| {
            let (a, b) =
                (drawn.points[k % LANDMARKS.len()], drawn.points[(k / LANDMARKS.len() + k + 1) % LANDMARKS.len()]);
            let share = (k / LANDMARKS.len()) as f64 / 8.0;
            Some([0, 1].map(|axis| a[axis] + share * (b[axis] - a[axis])))
        };
        let points = (0..landmarks).map(point).collect();
        labels.rows.push(LabelRow { image, width: width as u32, height: height as u32, points, ..LabelRow::default() });
    }
    labels.rows.truncate(1);
    labels.write(folder.join("template.csv")).unwrap();
    names
}

/// Trains all stages on the folder and detects in it; every point is found in its image.
fn train_and_detect(f: &Fixture, name: &str, images: usize, names: &[String], more: &[&str]) -> Labels {
    let [folder, run, template] = [format!("{name}/images"), format!("{name}/run"), format!("{name}/template.csv")];
    let train = ["train", &folder, "--template", "i00.png", "--landmarks", &template, "--out", &run, "--quiet"];
    ok(f.command(&[&train[..], &STEPS, more].concat()).output().unwrap());
    let (weights, out) = (format!("{run}/fused.safetensors"), format!("{name}/found.csv"));
    ok(f.command(&["detect", &folder, "--weights", &weights, "--out", &out, "--quiet"]).output().unwrap());
    let found = Labels::read(f.path(&out)).unwrap();
    assert_eq!((found.rows.len(), found.names.as_slice()), (images, names));
    for row in &found.rows {
        let inside = |p: &Option<[f64; 2]>| {
            let [x, y] = p.expect("every point is found");
            (-0.5..=row.size().0 - 0.5).contains(&x) && (-0.5..=row.size().1 - 0.5).contains(&y)
        };
        assert!(row.points.iter().all(inside), "{}", row.image);
        assert!(row.scores.iter().all(|score| (0.0..=1.0).contains(&score.unwrap())), "{}", row.image);
    }
    found
}

#[test]
fn twenty_images() {
    let f = Fixture::get();
    let names = draw(f, "general-20", 20, 14, &[(96, 120)]);
    train_and_detect(f, "general-20", 20, &names, &[]);
}

#[test]
fn one_landmark() {
    let f = Fixture::get();
    let names = draw(f, "general-1", 5, 1, &[(96, 120)]);
    train_and_detect(f, "general-1", 5, &names, &[]);
}

#[test]
fn a_hundred_landmarks() {
    let f = Fixture::get();
    let names = draw(f, "general-100", 4, 100, &[(96, 120)]);
    train_and_detect(f, "general-100", 4, &names, &[]);
}

#[test]
fn images_of_unequal_sizes() {
    let f = Fixture::get();
    let sizes = [(96, 120), (200, 150), (60, 90), (131, 257)];
    let names = draw(f, "general-sizes", 8, 6, &sizes);
    let found = train_and_detect(f, "general-sizes", 8, &names, &[]);
    let sized = |(row, index): (&LabelRow, usize)| (row.width as usize, row.height as usize) == sizes[index % 4];
    assert!(found.rows.iter().zip(0..).all(sized));
}
