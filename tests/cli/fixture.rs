//! Six phantoms of 64x80 pixels, settings that train in a second, and a run trained once.

use onemark::data::images::write_png_gray;
use onemark::data::labels::{LabelRow, Labels};
use onemark::data::phantom::{LANDMARKS, phantom};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// Settings of every training here.
pub const TINY: [&str; 28] = [
    "checkpoint_seconds=0",
    "views=2",
    "match.steps=4",
    "match.batch=1",
    "match.points=8",
    "match.channels=[4, 8, 8]",
    "match.embedding=4",
    "propose.views=2",
    "crop.side=16",
    "crop.channels=[4, 8]",
    "crop.radius=2",
    "joint.steps=4",
    "joint.batch=2",
    "joint.channels=[4, 8]",
    "joint.update.every=2",
    "joint.update.after=0",
    "joint.snapshots=2",
    "single.rounds=[1]",
    "single.steps=6",
    "single.batch=3",
    "single.template=1",
    "single.update.every=2",
    "single.update.after=0",
    "fuse.steps=4",
    "fuse.batch=3",
    "fuse.template=1",
    "fuse.rank=4",
    "fuse.snapshots=4",
];
pub const ALL_STAGES: [&str; 2] = ["--stages", "match,joint,single,fuse"];
const USED: [usize; 4] = [0, 2, 7, 12];

pub struct Fixture {
    pub root: PathBuf,
}

impl Fixture {
    /// The images, once for all tests.
    pub fn get() -> &'static Self {
        static FIXTURE: OnceLock<Fixture> = OnceLock::new();
        FIXTURE.get_or_init(|| {
            let root = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("cli");
            let _ = std::fs::remove_dir_all(&root);
            std::fs::create_dir_all(root.join("images")).unwrap();
            let mut truth = Labels { names: USED.map(|k| LANDMARKS[k].to_string()).to_vec(), rows: vec![] };
            for index in 0..6 {
                let drawn = phantom(3, index, 64, 80);
                let pixels: Vec<u8> = drawn.pixels.iter().map(|v| (v * 255.0) as u8).collect();
                let image = format!("p{index}.png");
                write_png_gray(root.join("images").join(&image), 64, 80, &pixels).unwrap();
                let points = USED.map(|k| Some(drawn.points[k])).to_vec();
                truth.rows.push(LabelRow { image, width: 64, height: 80, points, ..LabelRow::default() });
            }
            truth.write(root.join("truth.csv")).unwrap();
            truth.rows.truncate(1);
            truth.write(root.join("template.csv")).unwrap();
            Self { root }
        })
    }

    pub fn path(&self, name: &str) -> String {
        self.root.join(name).to_str().unwrap().into()
    }

    /// The folder of a run of all stages, trained once for all tests.
    pub fn trained(&self) -> PathBuf {
        static TRAINED: OnceLock<()> = OnceLock::new();
        TRAINED.get_or_init(|| {
            ok(self.train("trained", &[&ALL_STAGES[..], &["--quiet", "--spacing", "0.5"]].concat()));
        });
        self.root.join("trained")
    }

    pub fn weights(&self, kind: &str) -> String {
        self.path(&format!("trained/{kind}.safetensors"))
    }

    /// `onemark train` on the images with the tiny settings, in the fixture's folder.
    pub fn training(&self, out: &str, args: &[&str]) -> Command {
        let mut command = self.command(&["train", "images", "--template", "p0.png", "--out", out]);
        if !args.contains(&"--landmarks") {
            command.args(["--landmarks", "template.csv"]);
        }
        if out == "trained" && !args.contains(&"--spacing") {
            command.args(["--spacing", "0.5"]);
        }
        command.args(TINY.iter().flat_map(|set| ["--set", set])).args(args);
        command
    }

    pub fn train(&self, out: &str, args: &[&str]) -> Output {
        self.training(out, args).output().unwrap()
    }

    /// `onemark detect` with the fused weights.
    pub fn detect(&self, args: &[&str]) -> Output {
        let weights = self.weights("fused");
        let with = if args.contains(&"--weights") { vec![] } else { vec!["--weights", &weights] };
        self.command(&[&["detect"], args, &with].concat()).output().unwrap()
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_onemark"));
        command.args(args).current_dir(&self.root).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn assert_same_weights(&self, a: &str, b: &str) {
        for kind in ["match", "single", "fused"] {
            let read = |run: &str| std::fs::read(self.root.join(run).join(format!("{kind}.safetensors"))).unwrap();
            assert!(read(a) == read(b), "{kind} of {a} and {b} differ");
        }
    }
}

pub fn onemark(args: &[&str]) -> Output {
    Fixture::get().command(args).output().unwrap()
}

/// With a text on stdin.
pub fn onemark_with(args: &[&str], input: &str) -> Output {
    let mut child = Fixture::get().command(args).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

pub fn ok(output: Output) -> Output {
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    output
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// Says that a test has nothing to run on, which with `CI` set is a failure. Not by `println!`, which the test runner keeps to itself
/// unless a test fails.
pub fn skipped(cause: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {cause}\n").as_bytes());
    assert!(std::env::var_os("CI").is_none(), "with CI set, a skipped test is a failure");
}
