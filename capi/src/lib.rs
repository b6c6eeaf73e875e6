//! The C API: what `include/onemark.h` declares, and documents.
#![allow(non_camel_case_types)] // names as C has them

mod boundary;
mod threads;

use boundary::{Failure, guarded, rows, text};
use onemark::data::gray::GrayImage;
use onemark::detect::Detector;
use onemark::device::Device;
use onemark::model::Model;
use std::ffi::{CString, c_char, c_void};
use std::path::Path;
use std::sync::Mutex;
use threads::Threads;

/// Bytes of an error's message, with the 0 at its end.
pub const ONEMARK_MESSAGE_SIZE: usize = 1024;

/// What became of a call: 0, or the exit code that the command line would end with.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum onemark_status {
    /// Done.
    ONEMARK_OK = 0,
    /// An argument cannot be used: a null pointer, a size, a stride, a device that is none, pixels out of range.
    ONEMARK_BAD_ARGUMENT = 2,
    /// The weights cannot be read, or are none.
    ONEMARK_BAD_INPUT = 3,
    /// The device is not there, or cannot do it.
    ONEMARK_NO_DEVICE = 4,
    /// The device failed. The detector can only be closed.
    ONEMARK_DEVICE_LOST = 5,
    /// The model's numbers overflow on this image.
    ONEMARK_BAD_RESULT = 6,
    /// A fault in this library. The detector can only be closed.
    ONEMARK_PANIC = 8,
}

/// Why a call failed. The caller owns it; a call that succeeds empties it.
#[repr(C)]
pub struct onemark_error {
    /// UTF-8 in one line, ends with 0; longer ones are cut.
    pub message: [c_char; ONEMARK_MESSAGE_SIZE],
}

/// A landmark in an image.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct onemark_landmark {
    /// Position in pixels, to the right. The centre of the first pixel is at 0, and landmarks are always inside the image.
    pub x: f64,
    /// Position in pixels, downwards.
    pub y: f64,
    /// The estimated probability, in [0, 1], that the position is within 1.2 % of the image's longer side of where the landmark belongs.
    pub score: f64,
}

/// A model on a device.
pub struct onemark_detector {
    names: Vec<CString>,
    device: CString,
    work: Mutex<Work>,
}

/// Fields are dropped in this order: the detector before the threads it works on.
struct Work {
    detector: Detector,
    threads: Threads,
}

/// The version of this library, such as "0.1.0".
#[unsafe(no_mangle)]
pub extern "C" fn onemark_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Opens a detector from a weights file.
///
/// `device` is "cpu", "gpu", "gpu:NUMBER", "gpu:PART-OF-A-NAME" or "auto", which NULL means too: a real GPU if there is one and
/// the library was built with the feature gpu, else the CPU. `threads` are CPU threads of the detector's own, 0 for one a core;
/// results do not depend on their number. Paths are bytes as the system has them (UTF-8 on Windows).
///
/// `*detector` is closed by onemark_close; after a failure it is NULL.
///
/// # Safety
/// Strings end with 0; `detector` and `error` point to a place for one each, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_open(
    path: *const c_char,
    device: *const c_char,
    threads: u32,
    detector: *mut *mut onemark_detector,
    error: *mut onemark_error,
) -> onemark_status {
    // SAFETY: the caller's.
    unsafe {
        open(device, threads, detector, error, || {
            let path = text(path).ok_or_else(|| Failure::argument("path is NULL"))?;
            #[cfg(unix)]
            let path: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(path.to_bytes());
            #[cfg(not(unix))]
            let path = path.to_str().map_err(|_| Failure::argument("path is not UTF-8"))?;
            Ok(Model::read(Path::new(path))?)
        })
    }
}

/// As onemark_open, with the `size` bytes of a weights file that is in memory. They are not needed afterwards.
///
/// # Safety
/// As onemark_open; `weights` points to `size` bytes, or is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_open_memory(
    weights: *const c_void,
    size: usize,
    device: *const c_char,
    threads: u32,
    detector: *mut *mut onemark_detector,
    error: *mut onemark_error,
) -> onemark_status {
    // SAFETY: the caller's.
    unsafe {
        open(device, threads, detector, error, || {
            let (bytes, _) = rows(weights.cast::<u8>(), "weights", size, 1, 0)?;
            Ok(Model::from_bytes(bytes)?)
        })
    }
}

/// # Safety
/// That of [`onemark_open`].
unsafe fn open(
    device: *const c_char,
    threads: u32,
    detector: *mut *mut onemark_detector,
    error: *mut onemark_error,
    model: impl FnOnce() -> Result<Model, Failure>,
) -> onemark_status {
    guarded(error, || {
        if detector.is_null() {
            return Err(Failure::argument("detector is NULL"));
        }
        // SAFETY: the caller's, and not NULL.
        unsafe { detector.write(std::ptr::null_mut()) };
        // SAFETY: the caller's.
        let device = unsafe { text(device) }.unwrap_or(c"auto").to_str();
        let device = device.map_err(|_| Failure::argument("device is not UTF-8"))?;
        let model = model()?;
        let threads = Threads::start(threads)?;
        let (device, name) =
            threads.run(|| Device::select(device).map(|(device, _)| (device.clone(), device.name())))?;
        let made = Detector::new(model, &device);
        let c_string = |text: &str| CString::new(text).map_err(|_| Failure::input(format!("{text:?} holds a 0")));
        let opened = onemark_detector {
            names: made.landmarks().iter().map(|name| c_string(name)).collect::<Result<_, _>>()?,
            device: c_string(&name)?,
            work: Mutex::new(Work { detector: made, threads }),
        };
        // SAFETY: the caller's, and not NULL.
        unsafe { detector.write(Box::into_raw(Box::new(opened))) };
        Ok(())
    })
}

/// Frees a detector, and ends its threads. NULL is no detector, and nothing happens.
///
/// # Safety
/// `detector` is of onemark_open and not closed yet, and no other call uses it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_close(detector: *mut onemark_detector) {
    guarded(std::ptr::null_mut(), || {
        if !detector.is_null() {
            // SAFETY: the caller's: it was made by `Box::into_raw`, and nobody else has it.
            drop(unsafe { Box::from_raw(detector) });
        }
        Ok(())
    });
}

/// The number of landmarks that a detector finds in every image; 0 for NULL.
///
/// # Safety
/// `detector` is open, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_landmark_count(detector: *const onemark_detector) -> usize {
    // SAFETY: the caller's.
    unsafe { detector.as_ref() }.map_or(0, |detector| detector.names.len())
}

/// A landmark's name in UTF-8, in the order of detections from 0; NULL if there is no such landmark. It lasts as long as the
/// detector.
///
/// # Safety
/// `detector` is open, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_landmark_name(detector: *const onemark_detector, index: usize) -> *const c_char {
    // SAFETY: the caller's.
    let name = unsafe { detector.as_ref() }.and_then(|detector| detector.names.get(index));
    name.map_or(std::ptr::null(), |name| name.as_ptr())
}

/// The device that was taken, with its name, in UTF-8; NULL for NULL. It lasts as long as the detector.
///
/// # Safety
/// `detector` is open, or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_device_name(detector: *const onemark_detector) -> *const c_char {
    // SAFETY: the caller's.
    unsafe { detector.as_ref() }.map_or(std::ptr::null(), |detector| detector.device.as_ptr())
}

/// Finds all landmarks in an image of bytes: 0 is black, 255 is white.
///
/// Row y of the image begins `y * stride` bytes behind `pixels`; a stride of 0 stands for rows without gaps. `landmarks` takes
/// onemark_landmark_count(detector) of them, and `capacity` says how many it has room for; after a failure it is as it was.
///
/// The first image of a size takes longer than those that follow.
///
/// # Safety
/// `detector` is open, `pixels` points to all rows, `landmarks` to room for `capacity` landmarks and `error` to one, or are NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_detect_u8(
    detector: *mut onemark_detector,
    pixels: *const u8,
    width: usize,
    height: usize,
    stride: usize,
    landmarks: *mut onemark_landmark,
    capacity: usize,
    error: *mut onemark_error,
) -> onemark_status {
    // SAFETY: the caller's.
    unsafe {
        detect(detector, landmarks, capacity, error, || {
            let (pixels, stride) = rows(pixels, "pixels", width, height, stride)?;
            Ok(GrayImage::from_u8(width, height, stride, pixels)?)
        })
    }
}

/// As onemark_detect_u8, of 16-bit pixels in the machine's byte order. `white` is white, such as 4095 for 12 bits; brighter pixels
/// are clipped to it. The stride is a multiple of 2.
///
/// # Safety
/// As onemark_detect_u8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_detect_u16(
    detector: *mut onemark_detector,
    pixels: *const u16,
    white: u16,
    width: usize,
    height: usize,
    stride: usize,
    landmarks: *mut onemark_landmark,
    capacity: usize,
    error: *mut onemark_error,
) -> onemark_status {
    // SAFETY: the caller's.
    unsafe {
        detect(detector, landmarks, capacity, error, || {
            let (pixels, stride) = rows(pixels, "pixels", width, height, stride)?;
            Ok(GrayImage::from_u16(width, height, stride, white, pixels)?)
        })
    }
}

/// As onemark_detect_u8, of numbers: 0 is black, 1 is white, and what lies outside is refused. The stride is a multiple of 4.
///
/// # Safety
/// As onemark_detect_u8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn onemark_detect_f32(
    detector: *mut onemark_detector,
    pixels: *const f32,
    width: usize,
    height: usize,
    stride: usize,
    landmarks: *mut onemark_landmark,
    capacity: usize,
    error: *mut onemark_error,
) -> onemark_status {
    // SAFETY: the caller's.
    unsafe {
        detect(detector, landmarks, capacity, error, || {
            let (pixels, stride) = rows(pixels, "pixels", width, height, stride)?;
            Ok(GrayImage::from_f32(width, height, stride, pixels)?)
        })
    }
}

/// # Safety
/// That of [`onemark_detect_u8`].
unsafe fn detect(
    detector: *mut onemark_detector,
    landmarks: *mut onemark_landmark,
    capacity: usize,
    error: *mut onemark_error,
    image: impl FnOnce() -> Result<GrayImage, Failure>,
) -> onemark_status {
    guarded(error, || {
        // SAFETY: the caller's.
        let detector = unsafe { detector.as_ref() }.ok_or_else(|| Failure::argument("detector is NULL"))?;
        let count = detector.names.len();
        if landmarks.is_null() || !landmarks.is_aligned() {
            return Err(Failure::argument("landmarks is NULL or not aligned"));
        }
        if capacity < count {
            return Err(Failure::argument(format!("room for {capacity} landmarks, but there are {count}")));
        }
        let image = image()?;
        let mut work =
            detector.work.lock().map_err(|_| Failure::panic("an earlier call failed; close the detector"))?;
        let Work { detector, threads } = &mut *work;
        for (index, found) in threads.run(|| detector.detect(&image))?.into_iter().enumerate() {
            let [x, y] = found.point;
            // SAFETY: the caller's: there is room for `count` landmarks, and no more are found.
            unsafe { landmarks.add(index).write(onemark_landmark { x, y, score: found.score }) };
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests;
