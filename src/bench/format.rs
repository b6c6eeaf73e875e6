//! Rows as a table, Markdown, CSV or JSON.

use super::compare::Change;
use super::peak::Peaks;
use super::row::Row;
use crate::units::{digits, si};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// Comma-separated values, numbers in full.
    Csv,
    /// JSON, which `--compare` reads.
    Json,
    /// A table in Markdown.
    Md,
}

/// All of a benchmark's results.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// The program's version.
    pub onemark: String,
    /// What the device can do at best, if that was measured.
    pub peaks: Option<Peaks>,
    /// The rows.
    pub rows: Vec<Row>,
}

const HEADS: [&str; 22] = [
    "kernel", "variant", "shape", "settings", "dtype", "verified", "runs", "median", "p10", "p90", "GFLOP", "MB",
    "FLOP/B", "GFLOP/s", "GB/s", "% peak", "bound", "clock", "cache", "change", "device", "command",
];
/// Columns that a table for people has no room for: they are the same in all rows, or follow below.
const WIDE: usize = 2;
/// Columns of text, which are aligned to the left.
const TEXT: [&str; 9] = ["kernel", "variant", "shape", "settings", "dtype", "bound", "clock", "cache", "device"];

impl Results {
    /// In a format; `changes` belong to the rows one by one, if they were compared.
    pub fn write(&self, format: Format, changes: &[Option<Change>]) -> String {
        match format {
            Format::Json => serde_json::to_string_pretty(self).expect("rows are JSON") + "\n",
            Format::Csv => self.csv(changes),
            Format::Table => self.table(changes, false),
            Format::Md => self.table(changes, true),
        }
    }

    /// What a file in JSON holds.
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Input`] that says which field does not fit.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, "read", e))?;
        serde_json::from_str(&text)
            .map_err(|e| Error::input(path, format!("not results of `onemark bench --format json`: {e}")))
    }

    fn csv(&self, changes: &[Option<Change>]) -> String {
        let mut text = HEADS.map(|head| head.to_lowercase().replace("% peak", "of_peak")).join(",") + "\n";
        for (i, row) in self.rows.iter().enumerate() {
            let optional = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
            let cells = cells(row, changes.get(i), &|v| v.to_string(), &|v| v.to_string(), &optional, &optional);
            let quoted: Vec<String> = cells.iter().map(|cell| quote(cell)).collect();
            text += &(quoted.join(",") + "\n");
        }
        text
    }

    fn table(&self, changes: &[Option<Change>], markdown: bool) -> String {
        let optional = |v: Option<f64>| v.map_or("-".into(), |v| format!("{v:.1e}"));
        let percent = |v: Option<f64>| v.map_or("-".into(), |v| format!("{:.0}", 100.0 * v));
        let time = |v: f64| si(v, "s");
        let shown = HEADS.len() - WIDE;
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .enumerate()
            .map(|(i, row)| cells(row, changes.get(i), &time, &|v| digits(v), &optional, &percent)[..shown].to_vec())
            .collect();
        let used: Vec<usize> = (0..shown).filter(|&c| HEADS[c] != "change" || !changes.is_empty()).collect();
        let width = |c: usize| rows.iter().map(|row| row[c].chars().count()).max().unwrap_or(0).max(HEADS[c].len());
        let line = |cells: &dyn Fn(usize) -> String| {
            let cells: Vec<String> = used
                .iter()
                .map(|&c| {
                    let (cell, width) = (cells(c), width(c));
                    if TEXT.contains(&HEADS[c]) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                })
                .collect();
            if markdown {
                format!("| {} |\n", cells.join(" | "))
            } else {
                cells.join("  ").trim_end().to_string() + "\n"
            }
        };
        let mut text = line(&|c| HEADS[c].into());
        if markdown {
            let rule = |c: usize| if TEXT.contains(&HEADS[c]) { "---" } else { "--:" };
            text += &format!("| {} |\n", used.iter().map(|&c| rule(c)).collect::<Vec<_>>().join(" | "));
        }
        rows.iter().for_each(|row| text += &line(&|c| row[c].clone()));
        text += "\n";
        if let Some(first) = self.rows.first() {
            text += &format!("device: {}\n", first.subject.device);
        }
        if let Some(peaks) = &self.peaks {
            text += &peaks.line();
        }
        text
    }
}

impl Peaks {
    /// One line for people.
    pub fn line(&self) -> String {
        let more = |name: &str, rate: Option<f64>, unit| rate.map(|v| format!(", {name} {}", si(v, unit)));
        let arithmetic = [more("f16", self.f16, "FLOP/s"), more("matrix units", self.matrix, "FLOP/s")];
        let workgroup = more("workgroup memory", self.workgroup, "B/s").unwrap_or_default();
        format!(
            "measured peaks: {}{}, copy {}{workgroup}, launch {}; from {} FLOP/B on arithmetic binds\n",
            si(self.flops, "FLOP/s"),
            arithmetic.into_iter().flatten().collect::<String>(),
            si(self.bandwidth, "B/s"),
            si(self.launch, "s"),
            digits(self.ridge())
        )
    }
}

type Number<'a> = &'a dyn Fn(f64) -> String;
type Optional<'a> = &'a dyn Fn(Option<f64>) -> String;

/// A row's cells in the order of [`HEADS`].
fn cells(
    row: &Row,
    change: Option<&Option<Change>>,
    time: Number,
    number: Number,
    error: Optional,
    share: Optional,
) -> [String; HEADS.len()] {
    let of = &row.subject;
    [
        of.kernel.clone(),
        of.variant.clone(),
        of.shape.clone(),
        of.settings.clone(),
        of.dtype.name().into(),
        error(row.verified),
        row.runs.to_string(),
        time(row.median),
        time(row.p10),
        time(row.p90),
        number(row.gflop),
        number(row.mb),
        number(row.intensity),
        number(row.gflop_per_s),
        number(row.gb_per_s),
        share(row.of_peak),
        row.bound.map_or("-".into(), |bound| bound.name().into()),
        row.source.name().into(),
        if of.cold { "cold".into() } else { "hot".into() },
        change.and_then(Option::as_ref).map_or("-".into(), Change::text),
        of.device.clone(),
        row.replay.clone(),
    ]
}

fn quote(cell: &str) -> String {
    if cell.contains([',', '"', '\n']) { format!("\"{}\"", cell.replace('"', "\"\"")) } else { cell.into() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::measure::{Source, Times};
    use super::super::row::{Dtype, Subject};
    use super::*;
    use crate::kernel::Cost;

    pub fn row(kernel: &str, median: f64) -> Row {
        let subject = Subject {
            kernel: kernel.into(),
            variant: "cpu".into(),
            shape: "1x1x8x8x4 1x4x3x3x4".into(),
            settings: "stride=1".into(),
            dtype: Dtype::F32,
            cold: false,
            device: "cpu (2 threads)".into(),
        };
        let peaks = Peaks { flops: 100e9, bandwidth: 10e9, launch: 1e-6, ..Peaks::default() };
        let times = Times::new(vec![median; 5], Source::Host);
        let cost = Cost { flops: 2_000_000_000, bytes: 4_000_000 };
        Row::new(subject, cost, 1, &times, Some(&peaks), "onemark bench --case '{\"a\":[1,2]}'".into())
    }

    fn results() -> Results {
        Results { onemark: "0".into(), peaks: None, rows: vec![row("conv2d", 0.04), row("sum", 0.1)] }
    }

    #[test]
    fn a_table_has_a_line_a_row_and_its_columns_line_up() {
        let text = results().write(Format::Table, &[]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 5, "{text}");
        assert!(lines[1].contains("50.0") && lines[1].contains("compute") && lines[1].contains("40.0 ms"), "{text}");
        let at = |line: &str, word: &str| line.find(word).unwrap() + word.len();
        assert_eq!(at(lines[0], "GFLOP/s"), at(lines[1], "50.0"));
        assert!(!text.contains("change") && text.contains("device: cpu (2 threads)"));
        assert!(results().write(Format::Md, &[]).lines().nth(1).unwrap().starts_with("| --- | --- |"));
    }

    #[test]
    fn csv_quotes_and_json_comes_back() {
        let csv = results().write(Format::Csv, &[]);
        let lines: Vec<&str> = csv.lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[0].starts_with("kernel,variant,shape,settings,dtype,verified,runs,median,p10,p90,gflop,mb"));
        assert!(lines[1].ends_with("\"onemark bench --case '{\"\"a\"\":[1,2]}'\""), "{}", lines[1]);
        assert!(lines[1].contains(",0.04,0.04,0.04,2,4,500,50,0.1,0.5,compute,host,hot,"), "{}", lines[1]);
        let json = results().write(Format::Json, &[]);
        assert_eq!(serde_json::from_str::<Results>(&json).unwrap(), results());
    }
}
