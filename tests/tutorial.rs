//! The commands of `docs/tutorial.md`, copied from the page and run in its order; what they print is what the page shows, up to
//! numbers. With `ONEMARK_WRITE_DOCS=1` the page's output and pictures are made anew.
#![cfg(unix)]

use image::DynamicImage;
use image::imageops::FilterType;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// A picture in the documentation, bytes.
const MAX_PICTURE: usize = 100_000;

/// Words in which every number is 0, so that another processor's digits are no other output.
fn shape(text: &str) -> String {
    let mut shape = String::new();
    for c in text.chars() {
        let number = c.is_ascii_digit() || (c == '.' && shape.ends_with('0'));
        match number {
            true if !shape.ends_with('0') => shape.push('0'),
            true => {}
            false => shape.push(c),
        }
    }
    shape.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let at = |name: &&str| std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    names.iter().find_map(at)
}

/// The command that takes a picture of a page.
fn screenshot(chromium: &Path, url: &str, file: &str, height: u32) -> String {
    format!(
        "timeout 60 '{}' --headless --no-sandbox --disable-gpu --hide-scrollbars --virtual-time-budget=5000 \
         --window-size=900,{height} --screenshot={file} {url} 2>/dev/null",
        chromium.display()
    )
}

/// Who reads the tutorial: in the place of the program that opens browsers, a script that takes a picture of the page and then ends
/// `onemark annotate` as Ctrl-C does.
fn reader(bin: &Path, chromium: Option<&Path>) {
    let number = "$(ls page-*.png 2>/dev/null | wc -l)";
    let picture = chromium.map(|chromium| screenshot(chromium, "\"$1\"", &format!("page-{number}.png"), 640));
    let script = format!("#!/bin/sh\n{}\nkill -INT $PPID\n", picture.unwrap_or_default());
    for name in ["xdg-open", "open"] {
        std::fs::write(bin.join(name), &script).unwrap();
        std::fs::set_permissions(bin.join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }
}

/// Runs a block as it stands; returns what it prints.
fn sh(text: &str, folder: &Path, bin: &Path) -> String {
    let mut path = vec![bin.to_path_buf()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()));
    let mut command = Command::new("sh");
    command.args(["-euc", text]).current_dir(folder).env("PATH", std::env::join_paths(path).unwrap());
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A picture as the documentation has it.
fn jpeg(picture: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 62);
    picture.to_rgb8().write_with_encoder(encoder).unwrap();
    assert!(bytes.len() < MAX_PICTURE, "{} bytes", bytes.len());
    bytes
}

#[test]
fn the_tutorial_does_what_it_shows() {
    let write = std::env::var_os("ONEMARK_WRITE_DOCS").is_some();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("tutorial");
    let _ = std::fs::remove_dir_all(&folder);
    let (bin, work) = (folder.join("bin"), folder.join("work"));
    std::fs::create_dir_all(&bin).unwrap();
    std::fs::create_dir_all(&work).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_onemark"), bin.join("onemark")).unwrap();
    let chromium = chromium();
    reader(&bin, chromium.as_deref());

    let path = Path::new(ROOT).join("docs/tutorial.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (mut new, mut printed) = (Vec::new(), String::new());
    for (number, piece) in page.split("\n```").enumerate() {
        let (language, text) = piece.split_once('\n').unwrap_or((piece, ""));
        match language {
            _ if number % 2 == 0 => {}
            "sh" => {
                let start = Instant::now();
                printed = sh(text, &work, &bin);
                say(&format!("{:6.1} s  {}", start.elapsed().as_secs_f64(), text.lines().next().unwrap_or_default()));
            }
            "text" if write => {
                new.push(format!("text\n{}", printed.trim_end()));
                continue;
            }
            "text" => assert_eq!(shape(&printed), shape(text), "the page shows something else:\n{printed}"),
            _ => panic!("a block of {language:?}, which is not run"),
        }
        new.push(piece.into());
    }
    if write {
        std::fs::write(path, new.join("\n```")).unwrap();
    }
    pictures(&work, chromium.as_deref(), &page, write);
}

/// What the page shows in pictures.
fn pictures(work: &Path, chromium: Option<&Path>, page: &str, write: bool) {
    let Some(chromium) = chromium else {
        say("skipped: no Chromium for the pictures");
        return assert!(std::env::var_os("CI").is_none(), "with CI set, a skipped test is a failure");
    };
    let report = format!("'file://{}'", work.join("run/report.html").display());
    sh(&screenshot(chromium, &report, "report.png", 1000), work, work);
    let file = |name: &str| image::open(work.join(name)).unwrap();
    let overlay = file("pictures/phantom-030.png").resize(480, 600, FilterType::CatmullRom);
    let made = [
        ("template", file("page-1.png")),
        ("report", file("report.png")),
        ("overlay", overlay),
        ("review", file("page-2.png")),
    ];
    for (name, picture) in made {
        let (bytes, link) = (jpeg(&picture), format!("pictures/tutorial-{name}.jpg"));
        assert!(page.contains(&link), "{link} is not on the page");
        if write {
            std::fs::write(Path::new(ROOT).join("docs").join(link), bytes).unwrap();
        }
    }
}

/// Not `println!`, which the test runner keeps to itself unless a test fails.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
