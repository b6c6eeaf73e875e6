//! The C API from C: the example and a program of misuse, linked by gcc to the static library, run under valgrind, and held to what
//! the command line detects; and how large what is shipped may be.
//!
//! Builds the release profile. Needs gcc and valgrind: without them the tests say so, and with `CI` set that is a failure.

use onemark::learn::matching::Features;
use onemark::model::Model;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Bytes of the stripped command line.
const CLI: u64 = 16_000_000;
/// Bytes of the stripped example with the GPU executor.
const GPU_EXAMPLE: u64 = 10_000_000;
/// Bytes of the stripped example on the CPU alone.
const CPU_EXAMPLE: u64 = 2_000_000;
/// KiB that the example on the CPU may hold at most while it detects in an image of a megapixel at most, and of each thread.
const PEAK: [u64; 2] = [64 << 10, 256];

/// What is built once.
struct Built {
    folder: PathBuf,
    cli: PathBuf,
    cpu: PathBuf,
    gpu: PathBuf,
    misuse: PathBuf,
    misuse_shared: PathBuf,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace")
}

fn weights() -> PathBuf {
    root().join("weights/cephalogram.safetensors")
}

fn ok(output: Output) -> Output {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}{}", output.status, text(&output.stdout), text(&output.stderr));
    output
}

/// None where a tool is missing.
fn built() -> Option<&'static Built> {
    static BUILT: OnceLock<Option<Built>> = OnceLock::new();
    let there = |tool: &&str| Command::new(tool).arg("--version").stdout(Stdio::null()).status().is_ok();
    let build = || {
        if let Some(missing) = ["gcc", "valgrind"].iter().find(|tool| !there(tool)) {
            assert!(std::env::var_os("CI").is_none(), "{missing} is not installed");
            // Not `eprintln!`, which the test runner keeps to itself unless a test fails.
            let said = format!("skipped: {missing} is not installed\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), said.as_bytes());
            return None;
        }
        let exe = std::env::current_exe().expect("this program");
        let target = exe.ancestors().nth(3).expect("target/debug/deps/this");
        let folder = target.join("capi-tests");
        std::fs::create_dir_all(&folder).expect("a folder");
        let cargo = |arguments: &str| {
            let mut cargo = Command::new(env!("CARGO"));
            cargo.args(["build", "--release", "--quiet", "--target-dir"]).arg(target).args(arguments.split(' '));
            ok(cargo.current_dir(root()).output().expect("cargo"));
        };
        let release = target.join("release");
        let link = |source: &str, library: &str, name: &str| {
            let mut gcc = Command::new("gcc");
            gcc.args("-std=c99 -O2 -Wall -Wextra -Wpedantic -Werror -Wl,--gc-sections -I".split(' '));
            gcc.arg(root().join("capi/include")).arg(root().join("capi").join(source));
            gcc.arg(release.join(library)).args(["-lm", "-o"]).arg(folder.join(name));
            ok(gcc.output().expect("gcc"));
            folder.join(name)
        };
        cargo("--bin onemark");
        cargo("-p onemark-capi --features gpu");
        let gpu = link("examples/detect.c", "libonemark.a", "detect-gpu");
        cargo("-p onemark-capi");
        Some(Built {
            cli: release.join("onemark"),
            gpu,
            cpu: link("examples/detect.c", "libonemark.a", "detect"),
            misuse: link("tests/misuse.c", "libonemark.a", "misuse"),
            misuse_shared: link("tests/misuse.c", "libonemark.so", "misuse-shared"),
            folder,
        })
    };
    BUILT.get_or_init(build).as_ref()
}

/// Weights for valgrind, which takes 40 ns for each fused multiply-add, where the whole detection has nine billion: the shipped ones
/// at a quarter of their resolution and with one view; and those of networks that are small and were never trained.
fn light_weights(folder: &Path) -> [PathBuf; 2] {
    let mut model = Model::read(&weights()).expect("weights");
    let (config, k) = (&mut model.header.config, model.header.landmarks.len());
    (config.global_side, config.local_side, config.crop.side, config.views) = (60, 120, 16, 1);
    let paths = ["quarter", "untrained"].map(|name| folder.join(name).with_extension("safetensors"));
    model.write(&paths[0]).expect("weights");

    let config = &mut model.header.config;
    (config.matching.channels, config.matching.embedding, config.crop.channels) = (vec![4, 8], 4, vec![4, 8]);
    let (matching, net) = model.header.layouts();
    (model.matching, model.net) = (matching.init(1, &[]), net.init(1, &(0..k).collect::<Vec<_>>()));
    model.template.features = Features(vec![vec![0.5; 4 * k]]);
    model.write(&paths[1]).expect("weights");
    paths
}

/// Smooth blobs on a slope, each pixel in `0..=65535`.
fn picture(width: usize, height: usize) -> Vec<u16> {
    let blob = |i: usize, x: f64, y: f64| {
        let (cx, cy) = ((i * 37 % 101) as f64 / 101.0 * width as f64, (i * 59 % 97) as f64 / 97.0 * height as f64);
        let r2 = ((x - cx).powi(2) + (y - cy).powi(2)) / (4.0 + i as f64).powi(2);
        if i.is_multiple_of(2) { (-r2).exp() } else { -(-r2).exp() }
    };
    let gray = |x: f64, y: f64| {
        0.3 + 0.2 * (x + y) / (width + height) as f64 + 0.2 * (0..40).map(|i| blob(i, x, y)).sum::<f64>()
    };
    let pixel = |i: usize| (gray((i % width) as f64, (i / width) as f64).clamp(0.0, 1.0) * 65535.0).round() as u16;
    (0..width * height).map(pixel).collect()
}

/// Writes a picture as PNG and as PGM.
fn write(stem: &Path, width: usize, height: usize, pixels: &[u16], deep: bool) -> [PathBuf; 2] {
    let bytes: Vec<u8> = match deep {
        true => pixels.iter().flat_map(|v| v.to_be_bytes()).collect(),
        false => pixels.iter().map(|v| (v >> 8) as u8).collect(),
    };
    let [png, pgm] = ["png", "pgm"].map(|extension| stem.with_extension(extension));
    let mut encoder = png::Encoder::new(std::fs::File::create(&png).expect("a file"), width as u32, height as u32);
    encoder.set_color(png::ColorType::Grayscale);
    encoder.set_depth(if deep { png::BitDepth::Sixteen } else { png::BitDepth::Eight });
    encoder.write_header().expect("a header").write_image_data(&bytes).expect("pixels");
    let white = if deep { 65535 } else { 255 };
    let header = format!("P5 # a comment\n#\n{width} {height}\n{white}\n");
    std::fs::write(&pgm, [header.as_bytes(), &bytes].concat()).expect("a file");
    [png, pgm]
}

/// x, y and score of each landmark.
type Found = BTreeMap<String, [f64; 3]>;

fn number(text: &str) -> f64 {
    text.parse().unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// What the example prints, and the KiB that it says it held.
fn run(example: &Path, weights: &Path, pgm: &Path, device: &str) -> (Found, u64) {
    let output = ok(Command::new(example).arg(weights).arg(pgm).arg(device).output().expect("the example"));
    let said = String::from_utf8(output.stderr).expect("a text");
    println!("{}: {}", example.display(), said.trim());
    let peak = said.split_whitespace().rev().nth(3).map_or(0.0, number) as u64;
    (lines(&output.stdout), peak)
}

fn lines(text: &[u8]) -> Found {
    let line = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        (cells[0].to_string(), [1, 2, 3].map(|i| number(cells[i])))
    };
    std::str::from_utf8(text).expect("a text").lines().map(line).collect()
}

/// What the command line finds in an image.
fn command_line(built: &Built, png: &Path) -> Found {
    let out = png.with_extension("csv");
    let mut detect = Command::new(&built.cli);
    detect.args(["detect", "--quiet", "--device", "cpu", "--weights"]).arg(weights()).arg("--out").arg(&out).arg(png);
    ok(detect.output().expect("the program"));
    let text = std::fs::read_to_string(out).expect("landmarks");
    let (names, cells) = text.trim().split_once('\n').expect("two lines");
    let row: BTreeMap<&str, f64> =
        names.split(',').zip(cells.split(',')).skip(3).map(|(n, v)| (n, number(v))).collect();
    let landmarks = row.keys().filter_map(|name| name.strip_suffix("_score"));
    landmarks.map(|name| (name.into(), ["x", "y", "score"].map(|part| row[&*format!("{name}_{part}")]))).collect()
}

/// The largest difference of a coordinate, or of a hundred times a score.
fn difference(a: &Found, b: &Found) -> f64 {
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    let of = |(a, b): (&[f64; 3], &[f64; 3])| [0, 1, 2].map(|i| (a[i] - b[i]).abs() * [1.0, 1.0, 100.0][i]);
    a.values().zip(b.values()).flat_map(of).fold(0.0, f64::max)
}

#[test]
fn the_example_finds_what_the_command_line_finds() {
    let Some(built) = built() else { return };
    for (name, deep, [width, height]) in [("eight", false, [331, 402]), ("sixteen", true, [640, 511])] {
        let [png, pgm] = write(&built.folder.join(name), width, height, &picture(width, height), deep);
        let expected = command_line(built, &png);
        let (found, peak) = run(&built.cpu, &weights(), &pgm, "cpu");
        assert_eq!(found.len(), 19);
        let apart = difference(&found, &expected);
        println!("{name} bits: at most {apart} px from the command line, {peak} KiB at most");
        assert!(apart <= 0.002, "{apart}: {found:?} {expected:?}");
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
        assert!(peak > 0 && peak <= PEAK[0] + PEAK[1] * threads, "{peak} KiB");
        // The library with GPU support computes the same on the CPU.
        assert_eq!(run(&built.gpu, &weights(), &pgm, "cpu").0, found);
    }
}

#[test]
fn the_example_detects_on_a_gpu() {
    let Some(built) = built() else { return };
    let (width, height) = (331, 402);
    let [_, pgm] = write(&built.folder.join("gpu"), width, height, &picture(width, height), false);
    let refused = Command::new(&built.cpu).arg(weights()).arg(&pgm).arg("gpu").output().expect("the example");
    assert_eq!(refused.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("built without GPU support"));
    let probe = Command::new(&built.gpu).arg(weights()).arg(&pgm).arg("gpu").output().expect("the example");
    if probe.status.code() == Some(4) {
        assert!(std::env::var_os("CI").is_none(), "no device to test on");
        let _ = std::io::Write::write_all(&mut std::io::stderr(), b"skipped: no Vulkan or Metal device\n");
        return;
    }
    let apart = difference(&run(&built.gpu, &weights(), &pgm, "gpu").0, &run(&built.gpu, &weights(), &pgm, "cpu").0);
    assert!(apart <= 0.1, "{apart}");
}

#[test]
fn valgrind_finds_no_error_and_no_leak() {
    let Some(built) = built() else { return };
    let (width, height) = (200, 250);
    let [_, pgm] = write(&built.folder.join("valgrind"), width, height, &picture(width, height), true);
    let [quarter, untrained] = light_weights(&built.folder);
    ok(Command::new(&built.misuse_shared).arg(&untrained).output().expect("the program"));
    let valgrind = |program: &Path| {
        let mut valgrind = Command::new("valgrind");
        valgrind.args("--error-exitcode=99 --leak-check=full --show-leak-kinds=all --fair-sched=yes".split(' '));
        valgrind.arg("--errors-for-leak-kinds=all");
        valgrind.arg(format!("--suppressions={}", root().join("capi/valgrind.supp").display()));
        valgrind.arg(program);
        valgrind
    };
    ok(valgrind(&built.misuse).arg(&untrained).output().expect("valgrind"));
    let output = ok(valgrind(&built.cpu).arg(&quarter).arg(&pgm).arg("cpu").output().expect("valgrind"));
    println!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(difference(&lines(&output.stdout), &run(&built.cpu, &quarter, &pgm, "cpu").0) <= 0.002);
}

#[test]
fn what_is_shipped_is_small() {
    let Some(built) = built() else { return };
    let sizes = [
        ("onemark", &built.cli, CLI),
        ("example, GPU and CPU", &built.gpu, GPU_EXAMPLE),
        ("example, CPU", &built.cpu, CPU_EXAMPLE),
    ];
    for (name, path, bar) in sizes {
        let stripped = built.folder.join("stripped");
        ok(Command::new("strip").arg("-o").arg(&stripped).arg(path).output().expect("strip"));
        let bytes = stripped.metadata().expect("a file").len();
        println!("{name}, stripped: {bytes} bytes, {bar} at most");
        assert!(bytes <= bar, "{name}: {bytes} bytes, over {bar}");
    }
}
