//! Progress on stderr, and Ctrl-C.

use crate::learn::pipeline::{Observer, Progress};
use std::io::{IsTerminal, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

static STOPPED: AtomicBool = AtomicBool::new(false);

/// From now on the first Ctrl-C (or SIGTERM) asks for a stop that can be resumed, and the second stops at once.
pub fn watch_interrupts(quiet: bool) {
    let on_signal = move || {
        if STOPPED.swap(true, Ordering::SeqCst) {
            std::process::exit(crate::Error::Interrupted.exit_code().into());
        }
        if !quiet {
            super::note(" stopping; once more to stop at once");
        }
    };
    // Without a handler Ctrl-C stops at once, which leaves the last checkpoint: no reason to refuse work.
    let _ = ctrlc::set_handler(on_signal);
}

/// Whether a stop was asked for.
pub fn stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}

/// How progress is told.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Form {
    /// One line: redrawn on a terminal, else another one every ten seconds and at the end of a stage.
    Text,
    /// An object a line, once a second and at the end of a stage: stage, done, total, loss, seconds, eta_seconds. What else there
    /// is to say is an object with one member, note or error.
    Json,
}

/// Tells how far the work is.
pub struct Meter {
    /// None says nothing.
    form: Option<Form>,
    terminal: bool,
    stage: String,
    /// Steps done when last told; fewer begin another part of the stage.
    done: usize,
    /// When the stage began, and with how much done: what a resumed stage had done says nothing of its pace.
    start: (Instant, usize),
    shown: Instant,
    /// When something was last done: the next stage begins there.
    last: Instant,
    /// A redrawn line waits for its end.
    open: bool,
}

impl Meter {
    pub fn new(form: Option<Form>) -> Self {
        let now = Instant::now();
        let terminal = form == Some(Form::Text) && std::io::stderr().is_terminal();
        Self { form, terminal, stage: String::new(), done: 0, start: (now, 0), shown: now, last: now, open: false }
    }

    /// Shows how far a stage is, not too often.
    pub fn show(&mut self, progress: Progress) {
        let Some(form) = self.form else { return };
        let Progress { stage, done, total, .. } = progress;
        if stage != self.stage || done < self.done {
            self.close();
            self.stage = stage.into();
            self.start = (self.last, done.saturating_sub(1));
            self.shown = Instant::now();
        }
        self.done = done;
        self.last = Instant::now();
        let pause = match form {
            Form::Json => Duration::from_secs(1),
            Form::Text if self.terminal => Duration::from_millis(100),
            Form::Text => Duration::from_secs(10),
        };
        if done < total && self.shown.elapsed() < pause {
            return;
        }
        self.shown = Instant::now();
        let (elapsed, before) = (self.start.0.elapsed(), self.start.1);
        let line = match form {
            Form::Text => line(progress, elapsed, before),
            Form::Json => object(progress, elapsed, before),
        };
        let mut stderr = std::io::stderr();
        let _ = match self.terminal {
            true => write!(stderr, "\r{line}\x1b[K").and_then(|()| stderr.flush()),
            false => writeln!(stderr, "{line}"),
        };
        self.open = self.terminal;
        if done >= total {
            self.close();
        }
    }

    /// Ends a redrawn line, so that other text may follow.
    pub fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            let _ = writeln!(std::io::stderr());
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.close();
    }
}

impl Observer for Meter {
    fn progress(&mut self, progress: Progress) {
        self.show(progress);
    }

    fn stopped(&self) -> bool {
        stopped()
    }
}

fn line(Progress { stage, done, total, loss }: Progress, elapsed: Duration, before: usize) -> String {
    let percent = 100.0 * done as f64 / total.max(1) as f64;
    let mut line = format!("{stage:<8}{done:>6}/{total} {percent:>3.0} %");
    if let Some(loss) = loss {
        line += &format!("  loss {loss:.4}");
    }
    line += &format!("  {}", clock(elapsed.as_secs_f64()));
    if done < total {
        line += &format!("  ETA {}", clock(rest(done, total, elapsed, before)));
    }
    line
}

fn object(Progress { stage, done, total, loss }: Progress, elapsed: Duration, before: usize) -> String {
    let (seconds, eta_seconds) = (elapsed.as_secs_f64(), rest(done, total, elapsed, before));
    serde_json::json!({
        "stage": stage, "done": done, "total": total, "loss": loss, "seconds": seconds, "eta_seconds": eta_seconds
    })
    .to_string()
}

/// Seconds that what is left takes at the pace so far.
fn rest(done: usize, total: usize, elapsed: Duration, before: usize) -> f64 {
    elapsed.as_secs_f64() / done.saturating_sub(before).max(1) as f64 * total.saturating_sub(done) as f64
}

/// `m:ss` or `h:mm:ss`.
fn clock(seconds: f64) -> String {
    let s = seconds.round() as u64;
    match s / 3600 {
        0 => format!("{}:{:02}", s / 60, s % 60),
        h => format!("{h}:{:02}:{:02}", s / 60 % 60, s % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pace_is_that_of_this_run() {
        let progress = Progress { stage: "single", done: 150, total: 200, loss: Some(1.5) };
        let shown = line(progress, Duration::from_secs(100), 100);
        assert_eq!(shown, "single     150/200  75 %  loss 1.5000  1:40  ETA 1:40");
        assert_eq!(clock(3661.0), "1:01:01");
        let told: serde_json::Value = serde_json::from_str(&object(progress, Duration::from_secs(100), 100)).unwrap();
        assert_eq!(
            (&told["stage"], &told["done"], &told["eta_seconds"]),
            (&"single".into(), &150.into(), &100.0.into())
        );
    }
}
