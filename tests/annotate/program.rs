//! The program, started over a folder of its own.

use onemark::data::images::write_png_gray;
use onemark::data::labels::{LabelRow, Labels};
use onemark::data::phantom::{LANDMARKS, phantom};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

const USED: [usize; 4] = [0, 2, 7, 12];

/// An empty folder for one test.
pub fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("annotate").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// A folder with `p0.png`, `p1.png` and `p2.png`, phantoms, and `pred.csv`: their landmarks with scores, and a column that
/// is none of ours.
pub fn detections(name: &str) -> PathBuf {
    let folder = folder(name);
    std::fs::create_dir(folder.join("images")).unwrap();
    let mut labels = Labels { names: USED.map(|k| LANDMARKS[k].to_string()).to_vec(), rows: vec![] };
    for index in 0..3 {
        let (width, height) = (320, 384);
        let drawn = phantom(3, index, width, height);
        let pixels: Vec<u8> = drawn.pixels.iter().map(|v| (v * 255.0) as u8).collect();
        let image = format!("p{index}.png");
        write_png_gray(folder.join("images").join(&image), width as u32, height as u32, &pixels).unwrap();
        labels.rows.push(LabelRow {
            image,
            width: width as u32,
            height: height as u32,
            points: USED.map(|k| Some(drawn.points[k])).to_vec(),
            scores: [0.12, 0.5, 0.93, 0.71].map(Some).to_vec(),
            ..LabelRow::default()
        });
    }
    let csv = labels.to_csv();
    let notes = ["note", "one", "\"x, y\"", ""];
    let lines: Vec<String> = csv.lines().zip(notes).map(|(line, note)| format!("{line},{note}\r\n")).collect();
    std::fs::write(folder.join("pred.csv"), lines.concat()).unwrap();
    folder
}

pub fn command(folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_onemark"));
    command.arg("annotate").args(args).arg("--no-open").current_dir(folder);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What the program says that ends by itself.
pub fn ended(folder: &Path, args: &[&str]) -> Output {
    command(folder, args).output().unwrap()
}

/// A program that serves its page until it is dropped.
pub struct Program {
    child: Child,
    /// The address of the page.
    pub url: String,
}

impl Program {
    pub fn start(folder: &Path, args: &[&str]) -> Self {
        let mut child = command(folder, args).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { child, url: url.trim().into() }
    }

    pub fn id(&self) -> String {
        self.child.id().to_string()
    }

    /// `127.0.0.1:port`.
    pub fn host(&self) -> &str {
        self.url.split('/').nth(2).unwrap()
    }

    /// The path of the page, with the token.
    pub fn path(&self) -> &str {
        &self.url[self.url.find(self.host()).unwrap() + self.host().len()..]
    }

    /// The status, head and body of the answer to a request.
    pub fn ask(&self, method: &str, path: &str, host: &str, body: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(self.host()).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), head, answer[end + 4..].to_vec())
    }

    /// Ends it as Ctrl-C does; returns the exit code.
    #[cfg(unix)]
    pub fn interrupt(&mut self) -> Option<i32> {
        assert!(Command::new("kill").args(["-INT", &self.id()]).status().unwrap().success());
        self.child.wait().unwrap().code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
