//! The file that landmarks are saved into. A save concerns one image, and changes what it must and nothing else.
//!
//! What the file held before a save is known, or the save is refused. What it held that did not come from here is kept as a
//! copy beside it.

use super::session::Landmark;
use crate::data::files::{read_capped, write_atomic};
use crate::data::labels::formats::LabelFile;
use crate::data::labels::{LabelRow, Labels, MAX_FILE_BYTES, Point, is_json, scale_point, scale_spacing, utf8};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Landmarks as they are on disk, or will be after the first save.
pub struct LandmarkFile {
    path: PathBuf,
    labels: Labels,
    /// The text of `labels`; empty while they have no rows.
    text: String,
    /// What the file held when it was last looked at.
    disk: Option<Vec<u8>>,
    /// Whether `disk` was written from here.
    ours: bool,
    /// Counts the changes to `labels`, so that a page can tell of which it knows.
    version: u64,
}

/// What became of a save.
#[derive(Debug, PartialEq)]
pub enum Save {
    /// It is done; what the file held before is kept in a copy, if it was not from here.
    Done(Option<PathBuf>),
    /// Someone else has changed what it would replace.
    Conflict(String),
}

impl LandmarkFile {
    /// A file yet to be written, with landmarks of these names.
    ///
    /// # Errors
    /// [`Error::Input`] if it is there.
    pub fn create(path: &Path, names: Vec<String>) -> Result<Self> {
        if path.exists() {
            let cause =
                format!("is there already; go on with it by --landmarks {}, or name another --out", path.display());
            return Err(Error::input(path, cause));
        }
        let labels = Labels { names, rows: vec![] };
        Ok(Self { path: path.into(), labels, text: String::new(), disk: None, ours: false, version: 0 })
    }

    /// The landmarks of `source`, to be saved into `path`.
    ///
    /// # Errors
    /// Those of [`Labels::read`]; [`Error::Input`] if `path` is another file that is there.
    pub fn open(source: &Path, path: &Path) -> Result<Self> {
        let format = LabelFile::open(source, None)?.format();
        if !format.is_native() {
            let cause = format!("{} is not edited; onemark convert it to .csv or .json first", format.title);
            return Err(Error::input(source, cause));
        }
        if source.canonicalize().ok() == path.canonicalize().ok() {
            let disk = read_capped(source, MAX_FILE_BYTES)?;
            let (text, labels) = parsed(&disk, path)?;
            return Ok(Self { path: path.into(), labels, text, disk: Some(disk), ours: false, version: 0 });
        }
        let mut file = Self::create(path, vec![])?;
        file.labels = Labels::read(source)?;
        // In the same format, what this program does not know of is kept too.
        file.text = match read_capped(source, MAX_FILE_BYTES).and_then(|bytes| parsed(&bytes, path)) {
            Ok((text, labels)) if is_json(source) == is_json(path) && labels == file.labels => text,
            _ => file.labels.text(path),
        };
        Ok(file)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The landmarks.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Which state of the landmarks this is.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Whether names may be added, changed, moved and removed with a save of `image`: they are columns of all images.
    pub fn may_rename(&self, image: &str) -> bool {
        self.labels.rows.iter().all(|row| row.image == image)
    }

    /// Reads again what another program has changed. A file that is gone does not take its landmarks along.
    ///
    /// # Errors
    /// Those of [`Labels::read`]; then nothing here has changed.
    pub fn refresh(&mut self) -> Result<()> {
        let disk = self.on_disk()?;
        if disk == self.disk {
            return Ok(());
        }
        if let Some(bytes) = &disk {
            (self.text, self.labels) = parsed(bytes, &self.path)?;
        }
        (self.disk, self.ours) = (disk, false);
        self.version += 1;
        Ok(())
    }

    /// The landmarks of `image`, an image of `width` x `height` pixels, in its pixels; none if it has no row.
    ///
    /// # Errors
    /// [`Error::Input`] if the row is about an image of another shape.
    pub fn landmarks(&self, image: &str, (width, height): (u32, u32)) -> Result<Vec<Landmark>> {
        let size = (f64::from(width), f64::from(height));
        let row = self.labels.row(image);
        if let Some(row) = row.filter(|row| !crate::data::labels::same_shape(row.size(), size)) {
            let cause = format!(
                "its row says {}x{}, but the image has {width}x{height}; the row must be about this image",
                row.width, row.height
            );
            return Err(Error::input_at(&self.path, format!("image {image:?}"), cause));
        }
        let landmark = |(k, name): (usize, &String)| Landmark {
            name: name.clone(),
            point: row.and_then(|row| Some(carried(row.points[k]?, row.size(), size))),
            score: row.and_then(|row| row.scores.get(k).copied().flatten()),
        };
        Ok(self.labels.names.iter().enumerate().map(landmark).collect())
    }

    /// Saves the landmarks of `image`, of `size` pixels, as a page changed them that knew of `version`; `force` goes on with
    /// what another program has made of the file.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Input`]; then the file is as it was.
    pub fn save(
        &mut self,
        image: &str,
        size: (u32, u32),
        landmarks: &[Landmark],
        version: u64,
        force: bool,
    ) -> Result<Save> {
        if !force && version != self.version {
            let cause = "was changed in another window since this image was opened";
            return Ok(Save::Conflict(format!("{} {cause}", self.path.display())));
        }
        if self.on_disk()? != self.disk {
            if !force {
                let done = if self.path.exists() { "changed" } else { "removed" };
                let cause = format!("was {done} by another program since it was read");
                return Ok(Save::Conflict(format!("{} {cause}", self.path.display())));
            }
            self.refresh()?;
        }
        // Written anew, a file has no more than labels: what was in it besides is kept in a copy.
        let mut loses = false;
        let text = if self.labels.names.iter().eq(landmarks.iter().map(|l| &l.name)) && !self.text.is_empty() {
            self.patched(image, size, landmarks)?
        } else if self.may_rename(image) {
            loses = self.text != self.labels.text(&self.path);
            self.whole(image, size, landmarks).text(&self.path)
        } else {
            let cause =
                "has other landmarks than the page, and other images: names can only be changed while it has one";
            return Err(Error::input(&self.path, cause));
        };
        let (text, labels) = parsed(text.as_bytes(), &self.path)?; // what is written can be read
        if self.disk.as_deref() == Some(text.as_bytes()) {
            return Ok(Save::Done(None));
        }
        let copy = if self.disk.is_some() && (loses || !self.ours) { Some(keep_copy(&self.path)?) } else { None };
        write_atomic(&self.path, text.as_bytes())?;
        (self.disk, self.text, self.labels, self.ours) = (Some(text.clone().into()), text, labels, true);
        self.version += 1;
        Ok(Save::Done(copy))
    }

    /// The text with the points of `image` that differ.
    fn patched(&self, image: &str, size: (u32, u32), landmarks: &[Landmark]) -> Result<String> {
        let pixels = (f64::from(size.0), f64::from(size.1));
        let frame = self.labels.row(image).map_or(pixels, LabelRow::size);
        let before = self.landmarks(image, size)?;
        let differ = before.iter().zip(landmarks).filter(|(old, new)| old.point != new.point);
        let changes: Vec<_> = differ
            .map(|(_, new)| (new.name.as_str(), new.point.map(|p| carried(p, pixels, frame)), new.score))
            .collect();
        let patch = if is_json(&self.path) { Labels::patch_json } else { Labels::patch_csv };
        patch(&self.text, image, size, &changes).map_err(|cause| Error::input(&self.path, cause))
    }

    /// The labels of one image alone.
    fn whole(&self, image: &str, (width, height): (u32, u32), landmarks: &[Landmark]) -> Labels {
        let scored = landmarks.iter().any(|l| l.score.is_some());
        let size = (width.into(), height.into());
        let row = LabelRow {
            image: image.into(),
            width,
            height,
            spacing: self.labels.row(image).and_then(|row| Some(scale_spacing(row.spacing?, row.size(), size))),
            points: landmarks.iter().map(|l| l.point).collect(),
            scores: landmarks.iter().filter(|_| scored).map(|l| l.score).collect(),
        };
        Labels { names: landmarks.iter().map(|l| l.name.clone()).collect(), rows: vec![row] }
    }

    fn on_disk(&self) -> Result<Option<Vec<u8>>> {
        match read_capped(&self.path, MAX_FILE_BYTES) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some),
        }
    }
}

/// As [`scale_point`], and exact where nothing is scaled; else to a thousandth of a pixel.
fn carried(p: Point, from: (f64, f64), to: (f64, f64)) -> Point {
    if from == to { p } else { scale_point(p, from, to).map(|v| (v * 1e3).round() / 1e3) }
}

/// The text of a file's bytes, as it stands, and the labels in it.
fn parsed(bytes: &[u8], path: &Path) -> Result<(String, Labels)> {
    let text = utf8(bytes.into(), path)?;
    let labels = Labels::parse(&text, path)?;
    Ok((text, labels))
}

/// Copies a file to a name beside it that is free.
fn keep_copy(path: &Path) -> Result<PathBuf> {
    let numbered = |n: u32| {
        let mut name = path.as_os_str().to_owned();
        name.push(if n == 0 { ".bak".into() } else { format!(".bak{n}") });
        PathBuf::from(name)
    };
    let copy = (0..).map(numbered).find(|copy| !copy.exists()).unwrap_or_else(|| numbered(0));
    std::fs::copy(path, &copy).map_err(|e| Error::io(&copy, "write", e))?;
    Ok(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CSV: &str =
        "image,width,height,a_x,a_y,a_score,b_x,b_y,note\n1.png,10,20,1.50,2,0.9,,,x\n2.png,20,40,3,4,0.1,5,6,y\n";
    const SIZE: (u32, u32) = (10, 20);

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("onemark-annotate-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self, name: &str, text: &str) -> PathBuf {
            std::fs::write(self.0.join(name), text).unwrap();
            self.0.join(name)
        }

        fn text(&self, name: &str) -> String {
            std::fs::read_to_string(self.0.join(name)).unwrap()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn conflict(save: Result<Save>) -> String {
        match save.unwrap() {
            Save::Conflict(cause) => cause,
            done => panic!("{done:?}"),
        }
    }

    #[test]
    fn formats_of_others_are_sent_to_convert() {
        let folder = Folder::new("formats");
        let tps = folder.file("a.tps", "LM=1\n1 2\nIMAGE=1.png\n");
        let error = LandmarkFile::open(&tps, &tps).err().unwrap().to_string();
        assert!(error.contains("a.tps: TPS") && error.contains("onemark convert it to .csv or .json first"), "{error}");
    }

    #[test]
    fn a_correction_changes_a_point_and_keeps_a_copy_once() {
        let folder = Folder::new("correct");
        let path = folder.file("p.csv", CSV);
        let mut file = LandmarkFile::open(&path, &path).unwrap();
        let mut points = file.landmarks("1.png", SIZE).unwrap();
        assert_eq!((points[0].point, points[0].score, points[1].point), (Some([1.5, 2.0]), Some(0.9), None));
        assert_eq!(file.save("1.png", SIZE, &points, 0, false).unwrap(), Save::Done(None), "nothing has changed");
        assert!(!folder.0.join("p.csv.bak").exists());
        points[1].point = Some([7.0, 8.25]);
        let done = file.save("1.png", SIZE, &points, 0, false).unwrap();
        assert_eq!(done, Save::Done(Some(folder.0.join("p.csv.bak"))));
        assert_eq!((folder.text("p.csv"), folder.text("p.csv.bak")), (CSV.replace(",,,x", ",7,8.25,x"), CSV.into()));
        points[1].point = None;
        assert_eq!(file.save("1.png", SIZE, &points, 1, false).unwrap(), Save::Done(None), "what came from here");
        assert_eq!(folder.text("p.csv"), CSV);
        // The row of 2.png says 20x40, its image has half of that.
        let mut points = file.landmarks("2.png", SIZE).unwrap();
        assert_eq!(points[1].point, Some([2.25, 2.75]));
        points[1].point = Some([3.0, 2.75]);
        file.save("2.png", SIZE, &points, 2, false).unwrap();
        assert_eq!(folder.text("p.csv"), CSV.replace("5,6,y", "6.5,6,y"));
        assert!(file.landmarks("2.png", (20, 20)).unwrap_err().to_string().contains("row says 20x40, but the image"));
    }

    #[test]
    fn what_others_wrote_is_not_overwritten() {
        let folder = Folder::new("conflict");
        let path = folder.file("p.csv", CSV);
        let mut file = LandmarkFile::open(&path, &path).unwrap();
        let mut points = file.landmarks("1.png", SIZE).unwrap();
        (points[0].point, points[0].score) = (Some([9.0, 9.0]), None);
        let theirs = CSV.replace("5,6,y", "5,7,z");
        folder.file("p.csv", &theirs);
        let cause = conflict(file.save("1.png", SIZE, &points, 0, false));
        assert!(cause.ends_with("p.csv was changed by another program since it was read"), "{cause}");
        assert_eq!(folder.text("p.csv"), theirs);
        let done = file.save("1.png", SIZE, &points, 0, true).unwrap();
        assert_eq!(done, Save::Done(Some(folder.0.join("p.csv.bak"))));
        assert_eq!((folder.text("p.csv"), folder.text("p.csv.bak")), (theirs.replace("1.50,2,0.9", "9,9,"), theirs));
        assert!(conflict(file.save("1.png", SIZE, &points, 0, false)).contains("in another window"));
        std::fs::remove_file(&path).unwrap();
        let version = file.version();
        assert!(conflict(file.save("1.png", SIZE, &points, version, false)).contains("was removed by another"));
        folder.file("p.csv", "torn");
        assert_eq!(file.save("1.png", SIZE, &points, version, true).unwrap_err().exit_code(), 3);
        assert_eq!(folder.text("p.csv"), "torn");
        folder.file("p.csv", CSV);
        file.refresh().unwrap();
        assert_eq!(file.landmarks("1.png", SIZE).unwrap()[0].point, Some([1.5, 2.0]));
    }

    #[test]
    fn names_are_those_of_all_images() {
        let folder = Folder::new("names");
        let path = folder.0.join("t.json");
        let mut file = LandmarkFile::create(&path, vec!["a".into(), "b".into()]).unwrap();
        let mut points = file.landmarks("1.png", SIZE).unwrap();
        points.swap(0, 1);
        points[0] = Landmark { name: "c, d".into(), point: Some([1.0, 2.0]), score: None };
        assert_eq!(file.save("1.png", SIZE, &points, 0, false).unwrap(), Save::Done(None));
        assert_eq!(Labels::read(&path).unwrap(), file.whole("1.png", SIZE, &points));
        assert!(file.may_rename("1.png") && !file.may_rename("2.png"));
        points[1].name = points[0].name.clone();
        assert!(file.save("1.png", SIZE, &points, 1, false).is_err(), "two of one name");
        points[1].name = "e".into();
        assert!(file.save("2.png", SIZE, &points, 1, false).unwrap_err().to_string().contains("has other landmarks"));
        let points = file.landmarks("2.png", SIZE).unwrap();
        file.save("2.png", SIZE, &points, 1, false).unwrap();
        assert!(!file.may_rename("1.png"));
        assert_eq!(Labels::read(&path).unwrap().rows.len(), 2);
    }

    #[test]
    fn a_file_that_is_written_anew_keeps_millimetres_and_a_copy_of_the_rest() {
        let folder = Folder::new("anew");
        let csv =
            "image,width,height,pixel_width_mm,pixel_height_mm,a_x,a_y,a_score,note\n1.png,20,40,0.1,0.2,3,4,0.5,y\n";
        let path = folder.file("p.csv", csv);
        let mut file = LandmarkFile::open(&path, &path).unwrap();
        let mut points = file.landmarks("1.png", SIZE).unwrap();
        let found = points[0].clone();
        (points[0].point, points[0].score) = (Some([2.0, 2.0]), None);
        file.save("1.png", SIZE, &points, 0, false).unwrap();
        assert_eq!(folder.text("p.csv"), csv.replace("3,4,0.5", "4.5,4.5,"));
        file.save("1.png", SIZE, &[found], 1, false).unwrap();
        assert_eq!(folder.text("p.csv"), csv, "a correction that is undone");
        points[0].name = "b".into();
        let done = file.save("1.png", SIZE, &points, 2, false).unwrap();
        assert_eq!(done, Save::Done(Some(folder.0.join("p.csv.bak1"))));
        assert_eq!(folder.text("p.csv.bak1"), csv);
        let row = &Labels::read(&path).unwrap().rows[0];
        assert_eq!((row.size(), row.spacing), ((10.0, 20.0), Some([0.2, 0.4])));
    }

    #[test]
    fn another_file_is_begun_with_all_that_the_first_has() {
        let folder = Folder::new("other");
        let source = folder.file("p.csv", CSV);
        let (csv, json) = (folder.0.join("q.csv"), folder.0.join("q.json"));
        for path in [&csv, &json] {
            let mut file = LandmarkFile::open(&source, path).unwrap();
            let mut points = file.landmarks("1.png", SIZE).unwrap();
            (points[0].point, points[0].score) = (Some([9.0, 9.0]), None);
            assert_eq!(file.save("1.png", SIZE, &points, 0, false).unwrap(), Save::Done(None));
        }
        assert_eq!(folder.text("q.csv"), CSV.replace("1.50,2,0.9", "9,9,"));
        assert_eq!(Labels::read(&json).unwrap(), Labels::read(&csv).unwrap());
        let refused = LandmarkFile::open(&source, &csv).err().unwrap().to_string();
        assert!(refused.contains("q.csv: is there already; go on with it by --landmarks"), "{refused}");
        assert_eq!(folder.text("p.csv"), CSV);
    }
}
