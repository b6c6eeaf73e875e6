//! `onemark annotate`: the page on which a person places and reviews landmarks.

use crate::annotate::{Session, Site, http, token};
use crate::data::images::{expand_inputs, image_size};
use crate::data::labels::formats::stem;
use crate::{Error, Result};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Place landmarks by hand, or review detections, on a page in the browser.
///
/// Serves the page to this machine alone, prints its address and opens it; Ctrl-C ends it. Landmarks are saved as `onemark
/// train` reads them. A file that is there is changed only where points were, and what it was is kept in a copy, FILE.bak.
#[derive(clap::Args)]
pub struct Args {
    /// Images: files, folders or patterns such as 'scans/*.png'.
    #[arg(required = true)]
    images: Vec<String>,
    /// Landmarks to begin with: a template to go on with, or detections to review.
    #[arg(long, value_name = "FILE")]
    landmarks: Option<PathBuf>,
    /// Names of landmarks to place; more can be added on the page.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',', conflicts_with = "landmarks")]
    names: Vec<String>,
    /// Where landmarks are saved, .csv or .json [default: the FILE of --landmarks, else that of the one image, as .csv].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Port of the page [default: one that is free].
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Do not open the page.
    #[arg(long)]
    no_open: bool,
}

pub fn run(args: Args) -> Result<u8> {
    let paths = expand_inputs(&args.images)?;
    let out = out(&args, &paths)?;
    let landmarks = landmark_names(&args.names)?;
    let names = super::file_names(&paths)?;
    // One among many is said on the page; without any there is nothing to show.
    let unreadable: Vec<Error> = paths.iter().map_while(|path| image_size(path).err()).collect();
    if unreadable.len() == paths.len() {
        return unreadable.into_iter().next().map_or(Ok(0), Err);
    }
    let images = paths.into_iter().zip(names).collect();
    let session = Session::new(images, args.landmarks.as_deref(), landmarks, &out)?;
    if let Some(labels) = args.landmarks.filter(|_| !session.is_begun()) {
        super::note(format!("{} names none of these images", labels.display()));
    }

    let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).and_then(|l| Ok((l.local_addr()?, l)));
    let (address, listener) = bound.map_err(|e| Error::io(format!("port {}", args.port), "listen on", e))?;
    let site = Arc::new(Site::new(session, address.port(), token()?));
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let on_signal = move || {
        stopped.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(address); // wakes the server
    };
    // Without a handler Ctrl-C stops at once; files are written whole or not at all.
    let _ = ctrlc::set_handler(on_signal);

    super::print(site.url() + "\n")?;
    super::note(format!("landmarks go to {}; Ctrl-C ends", out.display()));
    if !args.no_open && !open(&site.url()) {
        super::note("no browser could be started: open the address above");
    }
    http::serve(&listener, &stop, &site);
    let _under_way = site.session(); // a save ends before the program does
    Ok(0)
}

/// Where landmarks go.
fn out(args: &Args, images: &[PathBuf]) -> Result<PathBuf> {
    let out = match (&args.out, &args.landmarks, images) {
        (Some(out), ..) => out.clone(),
        (None, Some(landmarks), _) => landmarks.clone(),
        (None, None, [image]) => {
            let name = image.file_name().unwrap_or_default().to_string_lossy();
            image.with_file_name(format!("{}.csv", stem(&name)))
        }
        _ => return Err(Error::Usage("several images need --out FILE, or --landmarks FILE".into())),
    };
    let known = out.extension().is_some_and(|e| e.eq_ignore_ascii_case("csv") || e.eq_ignore_ascii_case("json"));
    if !known {
        let cause = match args.out.is_some() {
            true => "must end in .csv or .json",
            false => "only .csv and .json are edited; onemark convert it to one of these first",
        };
        return Err(Error::Usage(format!("{}: {cause}", out.display())));
    }
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match folder.metadata() {
        Err(e) => Err(Error::io(&out, "write", e)),
        Ok(meta) if !meta.is_dir() => Err(Error::io(&out, "write", std::io::ErrorKind::NotADirectory.into())),
        Ok(_) => check_writable(folder).map(|()| out),
    }
}

/// Fails if no file can be made in a folder.
fn check_writable(folder: &Path) -> Result<()> {
    let path = folder.join(format!(".probe.{}.onemark-tmp", std::process::id()));
    std::fs::write(&path, "").map_err(|e| Error::io(folder, "write into", e))?;
    std::fs::remove_file(&path).map_err(|e| Error::io(path, "remove", e))
}

fn landmark_names(given: &[String]) -> Result<Vec<String>> {
    let names: Vec<String> = given.iter().map(|name| name.trim().into()).collect();
    match names.iter().enumerate().find(|(k, name)| name.is_empty() || names[..*k].contains(name)) {
        Some((_, name)) => Err(Error::Usage(format!("--names: {name:?} is empty or given twice"))),
        None => Ok(names),
    }
}

/// Opens an address in the browser; whether something to open it with was started.
fn open(url: &str) -> bool {
    let (program, args): (_, &[&str]) = match std::env::consts::OS {
        "macos" => ("open", &[]),
        "windows" => ("rundll32", &["url.dll,FileProtocolHandler"]),
        _ => ("xdg-open", &[]),
    };
    let mut command = Command::new(program);
    command.args(args).arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0); // Ctrl-C is not for the browser
    command.spawn().is_ok()
}
