//! `--precision f16`: what is detected with f16 storage is what is detected with f32, within half a pixel.

use onemark::Error;
use onemark::data::gray::GrayImage;
use onemark::data::phantom::{LANDMARKS, phantom};
use onemark::detect::Detector;
use onemark::device::Device;
use onemark::kernel::Element;
use onemark::learn::augment::View;
use onemark::learn::config::Config;
use onemark::learn::dataset::Dataset;
use onemark::learn::joint::{JointConfig, JointTraining};
use onemark::learn::labels::PseudoLabels;
use onemark::learn::matching::{Features, MatchConfig, Matcher};
use onemark::learn::optimizer::Optimizer;
use onemark::learn::propose::TemplateFeatures;
use onemark::model::{Header, Kind, Model, VERSION};
use onemark::tape::Region;

const USED: [usize; 4] = [0, 2, 7, 12];
const SIZE: [usize; 2] = [160, 192];

/// A GPU with f16; without any the test is skipped, but not in CI.
fn gpu() -> Option<Device> {
    let spec = std::env::var("ONEMARK_TEST_DEVICE").unwrap_or_else(|_| "gpu".into());
    let found = Device::select(&spec).and_then(|(device, _)| device.storing(Element::F16));
    match found {
        Ok(device) => Some(device),
        Err(error) if std::env::var_os("CI").is_some() => panic!("no device with f16 to test on: {error}"),
        Err(error) => {
            eprintln!("skipped: {error}");
            None
        }
    }
}

fn picture(index: u64) -> (GrayImage, Vec<[f64; 2]>) {
    let [width, height] = SIZE;
    let drawn = phantom(7, index, width, height);
    (GrayImage { width, height, pixels: drawn.pixels }, USED.map(|k| drawn.points[k]).into())
}

/// A small joint model, trained on the truth of a few phantoms.
fn model() -> Model {
    let joint = JointConfig {
        steps: 160,
        batch: 4,
        channels: vec![8, 16, 16],
        optimizer: Optimizer { lr: 4e-3, ..Optimizer::default() },
        ..JointConfig::default()
    };
    let matching = MatchConfig { channels: vec![4, 4], embedding: 4, ..MatchConfig::default() };
    let config = Config { joint, matching, global_side: 96, ..Config::default() };
    let (images, points): (Vec<GrayImage>, Vec<Vec<[f64; 2]>>) = (0..8).map(picture).unzip();
    let dataset = Dataset::new(&images, config.global_side, config.global_contrast);
    let labels = (0..USED.len()).map(|k| PseudoLabels {
        points: (0..images.len()).map(|image| dataset.stored(image, points[image][k])).collect(),
        weights: vec![1.0; images.len()],
        trust: vec![1.0; images.len()],
        expected: vec![None; images.len()],
    });
    let mut training = JointTraining::new(&Device::cpu(), &config.joint, &dataset, 0, labels.collect(), 1).unwrap();
    for step in 0..config.joint.steps {
        training.step(step).unwrap();
    }
    let net = training.trainer.executor.read(Region::Ema).unwrap();
    let header = Header {
        version: VERSION,
        kind: Kind::Joint,
        landmarks: USED.map(|k| LANDMARKS[k].to_string()).into(),
        config,
        spacing: None,
        template: "p0.png".into(),
        images: images.len(),
        onemark: env!("CARGO_PKG_VERSION").into(),
    };
    let (matching, _) = header.layouts();
    let template = TemplateFeatures { points: points[0].clone(), features: Features(vec![vec![0.5; 16]]) };
    Model { matching: matching.init(1, &[]), net, template, shape: None, header }
}

#[test]
fn detections_are_those_of_f32_within_half_a_pixel() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let (mut single, mut half) = (Detector::new(model.clone(), &Device::cpu()), Detector::new(model, &gpu));
    let (mut worst, mut errors): (f64, Vec<f64>) = (0.0, Vec::new());
    for index in 20..24 {
        let (image, truth) = picture(index);
        let (exact, rounded) = (single.detect(&image).unwrap(), half.detect(&image).unwrap());
        let distance = |a: [f64; 2], b: [f64; 2]| (a[0] - b[0]).hypot(a[1] - b[1]);
        for ((exact, rounded), truth) in exact.iter().zip(&rounded).zip(truth) {
            worst = worst.max(distance(exact.point, rounded.point));
            errors.push(distance(exact.point, truth));
            assert!((exact.score - rounded.score).abs() < 0.05, "{exact:?}, {rounded:?}");
        }
    }
    errors.sort_by(f64::total_cmp);
    assert!(errors[errors.len() / 2] < 6.0, "the model has learned something: {errors:?}");
    assert!(worst <= 0.5, "{worst} pixels between f16 and f32");
    assert!(half.arena_bytes() * 100 < single.arena_bytes() * 60, "{} of {}", half.arena_bytes(), single.arena_bytes());
}

#[test]
fn maps_between_programs_hold_in_f16_what_they_do_in_f32() {
    let Some(gpu) = gpu() else { return };
    let model = model();
    let (image, truth) = picture(20);
    let dataset = Dataset::new([&image], model.header.config.global_side, model.header.config.global_contrast);
    let points: Vec<[f64; 2]> = truth.iter().map(|&point| dataset.stored(0, point)).collect();
    let config = MatchConfig { sharpness: 200.0, ..model.header.config.matching.clone() };
    let look = |device: &Device| {
        let mut matcher = Matcher::new(device, &config, &model.matching, &dataset, points.len()).unwrap();
        matcher.look(&dataset.plain(0, View::WHOLE).encode()).unwrap();
        let features = matcher.features(&points).unwrap();
        let peaks = matcher.locate(&dataset, 0, &features, Some((&points, 6.0))).unwrap();
        (features, peaks)
    };
    let ((exact, peaks), (rounded, rounded_peaks)) = (look(&Device::cpu()), look(&gpu));
    for (exact, rounded) in exact.0.iter().flatten().zip(rounded.0.iter().flatten()) {
        assert!((exact - rounded).abs() < 0.01, "{exact} and {rounded}");
    }
    for (exact, rounded) in peaks.iter().zip(&rounded_peaks) {
        let [dx, dy] = [0, 1].map(|axis| exact.point[axis] - rounded.point[axis]);
        assert!(dx.hypot(dy) < 0.5, "{exact:?} and {rounded:?}");
    }
}

#[test]
fn a_device_without_f16_is_named() {
    let Err(error) = Device::cpu().storing(Element::F16) else { panic!("the CPU has no f16") };
    assert!(matches!(error, Error::Usage(_)) && error.to_string().starts_with("cpu ("), "{error}");
}
