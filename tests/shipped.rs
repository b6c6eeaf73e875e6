//! The weights that are shipped: they load, are as small as promised, and detect.

use onemark::data::gray::GrayImage;
use onemark::detect::Detector;
use onemark::device::Device;
use onemark::model::{Kind, Model};
use std::path::Path;

#[test]
fn the_cephalogram_detector_loads_and_detects() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/cephalogram.safetensors");
    assert!(path.metadata().unwrap().len() <= 4 << 20);
    let model = Model::read(&path).unwrap();
    assert_eq!((model.header.kind, model.header.landmarks.len(), model.header.images), (Kind::Fused, 19, 150));
    assert_eq!((model.header.template.as_str(), model.header.spacing), ("125.jpg", Some(0.25)));
    let (width, height) = (387, 480);
    let pixels =
        (0..width * height).map(|i| ((i % width) as f32 / width as f32 + (i / width % 7) as f32 * 0.05).fract());
    let image = GrayImage { width, height, pixels: pixels.collect() };
    let found = Detector::new(model, &Device::cpu()).detect(&image).unwrap();
    assert_eq!(found.len(), 19);
    for detection in found {
        let [x, y] = detection.point;
        assert!((0.0..=386.0).contains(&x) && (0.0..=479.0).contains(&y) && (0.0..=1.0).contains(&detection.score));
    }
}

#[test]
fn one_changed_bit_is_noticed() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("weights/cephalogram.safetensors");
    let whole = std::fs::read(&path).unwrap();
    assert!(Model::from_bytes(&whole).is_ok());
    for i in 0..100 {
        // Half of them in the header, which is the file's first part.
        let at = if i < 50 { i * 97 } else { (i - 49) * whole.len() / 51 };
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (i % 8);
        assert!(Model::from_bytes(&damaged).is_err(), "bit {} of byte {at}", i % 8);
    }
}
