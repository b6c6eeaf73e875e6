//! Who gets an answer, and what the program refuses.

use crate::program::{Program, detections, ended, folder};
use onemark::data::images::write_png_gray;
use std::path::Path;

fn json(body: &[u8]) -> serde_json::Value {
    serde_json::from_slice(body).unwrap()
}

#[test]
fn strangers_are_refused() {
    let folder = detections("strangers");
    let program = Program::start(&folder, &["images", "--landmarks", "pred.csv"]);
    let (host, path) = (program.host(), program.path());
    let port = host.split(':').nth(1).unwrap();
    assert!(host.starts_with("127.0.0.1:") && path.len() == 34, "{}", program.url);
    let status = |path: &str, host: &str| program.ask("GET", path, host, "").0;

    let (code, head, page) = program.ask("GET", path, host, "");
    assert_eq!((code, page.starts_with(b"<!doctype html>")), (200, true));
    assert!(head.contains("Content-Security-Policy: default-src 'none'; script-src 'self';"), "{head}");
    assert!(head.contains("Referrer-Policy: no-referrer") && head.contains("Cache-Control: no-store"), "{head}");
    assert_eq!(status(path, &format!("localhost:{port}")), 200);
    for file in ["main.js", "style.css", "icon.svg", "api/session", "api/images/2"] {
        assert_eq!(status(&format!("{path}{file}"), host), 200, "{file}");
        assert_eq!(status(&format!("/{file}"), host), 403, "without the token");
    }
    let wrong = path.replace(&path[1..2], if &path[1..2] == "0" { "1" } else { "0" });
    for path in ["/", "", "/favicon.ico", &wrong, &path[..33], &format!("/{path}"), &path.to_uppercase()] {
        let code = status(if path.is_empty() { "*" } else { path }, host);
        assert!(code == 403, "{path}: {code}");
    }
    for other in ["evil.example", &format!("evil.example:{port}"), "127.0.0.1", "127.0.0.1:1", "", "[::1]:80"] {
        assert_eq!(status(path, other), 403, "{other:?}");
    }
    for path in ["../Cargo.toml", "page/main.js", "api/images/3", "api/images/-1", "api/save", "index.html", "nothing"]
    {
        let (code, _, body) = program.ask("GET", &format!("{}{path}", program.path()), host, "");
        let expected = if path == "api/images/3" { 422 } else { 404 };
        assert_eq!(code, expected, "{path}: {}", String::from_utf8_lossy(&body));
    }
    let before = std::fs::read(folder.join("pred.csv")).unwrap();
    let save = r#"{"image":0,"version":0,"force":true,"landmarks":[]}"#;
    assert_eq!(program.ask("POST", "/api/save", host, save).0, 403);
    assert_eq!(program.ask("POST", &format!("{path}api/save"), "evil.example", save).0, 403);
    for body in ["", "{}", "[1", &save.replace("\"image\":0", "\"image\":2"), save] {
        let (code, _, answer) = program.ask("POST", &format!("{path}api/save"), host, body);
        assert_eq!((code, json(&answer)["error"].is_string()), (422, true), "{body}");
    }
    assert_eq!(std::fs::read(folder.join("pred.csv")).unwrap(), before);
}

#[test]
fn images_come_with_all_their_bits_and_landmarks_are_saved() {
    let folder = folder("bits");
    let values: Vec<u16> = (0..6).map(|i| 700 + 13 * i).collect();
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(3, 2, values.clone())
        .unwrap()
        .save(folder.join("a.png"))
        .unwrap();
    let program = Program::start(&folder, &["a.png", "--names", "a,b"]);
    let (_, _, body) = program.ask("GET", &format!("{}api/images/0", program.path()), program.host(), "");
    let length = u32::from_le_bytes(body[..4].try_into().unwrap()) as usize;
    let opened = json(&body[4..4 + length]);
    assert_eq!((opened["width"].as_u64(), opened["height"].as_u64()), (Some(3), Some(2)));
    assert_eq!(opened["landmarks"][1]["name"], "b");
    let samples: Vec<u16> = body[4 + length..].chunks(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    assert_eq!(samples, values);

    let save = r#"{"image":0,"version":0,"force":false,"landmarks":[{"name":"a","point":[1,0.25],"score":null},
                   {"name":"b","point":null,"score":null}]}"#;
    let saved = |program: &Program| program.ask("POST", &format!("{}api/save", program.path()), program.host(), save).0;
    assert_eq!(saved(&program), 200);
    let text = std::fs::read_to_string(folder.join("a.csv")).unwrap();
    assert_eq!(text, "image,width,height,a_x,a_y,b_x,b_y\na.png,3,2,1,0.25,,\n");
    assert_eq!(saved(&program), 409, "the page knows of an older state");
    let far = save.replace("[1,0.25]", "[3,0.25]").replace("\"version\":0", "\"version\":1");
    let (code, _, answer) = program.ask("POST", &format!("{}api/save", program.path()), program.host(), &far);
    let cause = json(&answer)["error"].as_str().unwrap().to_string();
    assert!(code == 422 && cause.contains("landmark \"a\": (3, 0.25) is outside the 3x2 image"), "{cause}");
    assert_eq!(std::fs::read_to_string(folder.join("a.csv")).unwrap(), text);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it() {
    let folder = detections("interrupt");
    let mut program = Program::start(&folder, &["images/p0.png"]);
    let _idle = std::net::TcpStream::connect(program.host()).unwrap();
    assert_eq!(program.interrupt(), Some(0));
    assert!(std::net::TcpStream::connect(program.host()).is_err());
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let folder = detections("refused");
    write_png_gray(folder.join("own.png"), 2, 2, &[0; 4]).unwrap();
    std::fs::write(folder.join("own.csv"), "image,width,height,a_x,a_y\nown.png,2,2,0,0\n").unwrap();
    let refused = |args: &[&str], code: i32, words: &str| {
        let output = ended(&folder, args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(code) && text.contains(words), "{args:?}: {text}");
        assert!(code == 2 || text.lines().count() == 1, "{text}");
    };
    refused(&["own.png"], 3, "own.csv: is there already; go on with it by --landmarks own.csv, or name another --out");
    refused(&["own.png", "--landmarks", "pred.csv", "--out", "own.csv"], 3, "own.csv: is there already");
    refused(&["images"], 2, "several images need --out FILE, or --landmarks FILE");
    refused(&["own.png", "--out", "own.txt"], 2, "own.txt: must end in .csv or .json");
    refused(&["own.png", "--landmarks", "own.tps"], 2, "own.tps: only .csv and .json are edited; onemark convert it");
    refused(&["own.png", "--out", "gone/own.csv"], 3, "gone/own.csv: cannot write");
    refused(&["own.png", "--landmarks", "gone.csv"], 3, "gone.csv: cannot read");
    refused(&["gone.png"], 3, "gone.png: cannot read");
    std::fs::write(folder.join("torn.png"), b"torn").unwrap();
    refused(&["torn.png"], 3, "torn.png: empty, or not a PNG");
    refused(&["images", "--out", "images/p0.png/x.csv"], 3, "images/p0.png/x.csv: cannot write");
    #[cfg(target_os = "linux")] // a folder into which root cannot write either
    refused(&["own.png", "--out", "/proc/x.csv"], 3, "/proc: cannot write into");
    refused(&["own.png", "--out", "x.csv", "--names", "a,,b"], 2, "--names: \"\" is empty or given twice");
    refused(&["own.png", "--out", "x.csv", "--names", "a,b,a"], 2, "--names: \"a\" is empty or given twice");
    refused(&["own.png", "--landmarks", "own.csv", "--names", "a"], 2, "cannot be used with");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    refused(&["own.png", "--out", "x.csv", "--port", &port], 3, &format!("port {port}: cannot listen on"));
    assert!(!Path::new(&folder).join("x.csv").exists());
}
