//! Bundles in a browser: the page detects what `detect` does.

use crate::chromium;
use crate::fixture::{Fixture, ok, stderr};
use onemark::data::images::write_png_gray;
use onemark::data::labels::Labels;
use onemark::data::phantom::phantom;

/// Phantoms of these sizes as PNG; their paths.
fn phantoms(f: &Fixture, folder: &str, sizes: &[[usize; 2]]) -> Vec<String> {
    std::fs::create_dir_all(f.root.join(folder)).unwrap();
    let draw = |(i, &[width, height]): (usize, &[usize; 2])| {
        let drawn = phantom(3, i as u64, width, height);
        let pixels: Vec<u8> = drawn.pixels.iter().map(|v| (v * 255.0) as u8).collect();
        let path = f.path(&format!("{folder}/{width}x{height}.png"));
        write_png_gray(&path, width as u32, height as u32, &pixels).unwrap();
        path
    };
    sizes.iter().enumerate().map(draw).collect()
}

/// Holds the landmarks of a bundle's page to those of the command line, if there is a browser.
fn compare(f: &Fixture, name: &str, weights: &str, images: &[String]) {
    let (bundle, page, line) = (f.path(name), f.path(&format!("{name}-page.csv")), f.path(&format!("{name}-line.csv")));
    let export = ["export", "--weights", weights, "--format", "bundle", "--out", &bundle];
    ok(f.command(&export).output().unwrap());
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    ok(f.detect(&[&images[..], &["--weights", weights, "--out", &line, "--device", "cpu", "--quiet"]].concat()));
    let Some(done) = chromium::run("detect.mjs", [&[&bundle[..], &page], &images[..]].concat()) else { return };
    assert!(done.status.success(), "{name}: {}", stderr(&done));
    let (page, line) = (Labels::read(page).unwrap(), Labels::read(line).unwrap());
    assert_eq!(page.names, line.names);
    let mut worst = (0.0f64, 0.0f64);
    for row in &line.rows {
        let other = page.rows.iter().find(|other| other.image == row.image).expect("a row an image");
        assert_eq!((other.width, other.height), (row.width, row.height));
        for (a, b) in row.points.iter().flatten().zip(other.points.iter().flatten()) {
            worst.0 = worst.0.max((a[0] - b[0]).hypot(a[1] - b[1]));
        }
        for (a, b) in row.scores.iter().flatten().zip(other.scores.iter().flatten()) {
            worst.1 = worst.1.max((a - b).abs());
        }
    }
    assert!(worst.0 < 0.1 && worst.1 < 1e-3, "{name}: {} pixels, {} of score", worst.0, worst.1);
}

#[test]
fn the_page_detects_what_the_command_line_detects() {
    let f = Fixture::get();
    f.trained();
    let sizes =
        [[64, 80], [80, 64], [131, 97], [40, 75], [90, 90], [33, 160], [64, 63], [200, 210], [51, 50], [77, 33]];
    let images = phantoms(f, "web-images", &sizes);
    compare(f, "web-fused", &f.weights("fused"), &images);
    for kind in ["match", "joint", "single"] {
        compare(f, &format!("web-{kind}"), &f.weights(kind), &images[..3]);
    }
    ok(f.train("web-shape", &["--quiet", "--stages", "match,single", "--set", "shape.noise=0.02"]));
    compare(f, "web-shaped", &f.path("web-shape/single.safetensors"), &images[..3]);
}
