//! What every call does at the boundary to C: arguments checked, panics caught, errors written where the caller wants them.

use crate::{ONEMARK_MESSAGE_SIZE, onemark_error, onemark_status};
use std::ffi::{CStr, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Why a call fails.
#[derive(Debug)]
pub struct Failure {
    pub status: onemark_status,
    pub message: String,
}

impl Failure {
    pub fn argument(message: impl Into<String>) -> Self {
        Self { status: onemark_status::ONEMARK_BAD_ARGUMENT, message: message.into() }
    }

    pub fn input(message: impl Into<String>) -> Self {
        Self { status: onemark_status::ONEMARK_BAD_INPUT, message: message.into() }
    }

    pub fn panic(message: impl Into<String>) -> Self {
        Self { status: onemark_status::ONEMARK_PANIC, message: message.into() }
    }
}

impl From<onemark::Error> for Failure {
    fn from(error: onemark::Error) -> Self {
        let status = match error.exit_code() {
            2 => onemark_status::ONEMARK_BAD_ARGUMENT,
            3 => onemark_status::ONEMARK_BAD_INPUT,
            4 => onemark_status::ONEMARK_NO_DEVICE,
            5 => onemark_status::ONEMARK_DEVICE_LOST,
            _ => onemark_status::ONEMARK_BAD_RESULT,
        };
        Self { status, message: error.to_string() }
    }
}

/// Does a call's work. Nothing unwinds into C.
///
/// `error` points to a place for an error, or is null: a promise of the C API's callers.
pub fn guarded(error: *mut onemark_error, work: impl FnOnce() -> Result<(), Failure>) -> onemark_status {
    let done = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|cause| {
        let cause = cause.downcast_ref::<String>().map(String::as_str).or(cause.downcast_ref::<&str>().copied());
        Err(Failure::panic(format!("a fault in onemark: {}", cause.unwrap_or("no cause given"))))
    });
    let (status, message) = match done {
        Ok(()) => (onemark_status::ONEMARK_OK, String::new()),
        // One line, without a 0: drivers' messages have several, and paths may have anything.
        Err(Failure { status, message }) => (status, message.replace(char::is_control, " ")),
    };
    if !error.is_null() {
        let message = &message.as_bytes()[..cut(&message)];
        // SAFETY: the caller's; the message and its 0 fit, and are written without a reference to what may not be initialised.
        unsafe {
            let to = (&raw mut (*error).message).cast::<u8>();
            to.copy_from_nonoverlapping(message.as_ptr(), message.len());
            to.add(message.len()).write(0);
        }
    }
    status
}

/// How much of a message fits: whole characters.
fn cut(message: &str) -> usize {
    let fits = |end: &usize| message.is_char_boundary(*end);
    (0..=message.len().min(ONEMARK_MESSAGE_SIZE - 1)).rev().find(fits).unwrap_or(0)
}

/// A C string; none for NULL.
///
/// # Safety
/// It ends with 0, or is NULL.
pub unsafe fn text<'a>(text: *const c_char) -> Option<&'a CStr> {
    // SAFETY: the caller's.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
}

/// The rows of an image, and their stride in elements. `stride` is in bytes, and 0 for rows without gaps.
///
/// # Safety
/// All rows are there, or `data` is NULL.
pub unsafe fn rows<'a, T>(
    data: *const T,
    name: &str,
    width: usize,
    height: usize,
    stride: usize,
) -> Result<(&'a [T], usize), Failure> {
    let size = size_of::<T>();
    if data.is_null() || !data.is_aligned() {
        return Err(Failure::argument(format!("{name} is NULL or not aligned")));
    }
    if !stride.is_multiple_of(size) {
        return Err(Failure::argument(format!("a stride of {stride} bytes is no multiple of {size}")));
    }
    let stride = if stride == 0 { width } else { stride / size };
    if stride < width {
        return Err(Failure::argument(format!("rows of {width} pixels are longer than their stride")));
    }
    let len = height.checked_sub(1).and_then(|rows| rows.checked_mul(stride)?.checked_add(width));
    let fits = |len: &usize| len.checked_mul(size).is_some_and(|bytes| isize::try_from(bytes).is_ok());
    let len = len.filter(fits).ok_or_else(|| Failure::argument(format!("no image has {width}x{height} pixels")))?;
    // SAFETY: the caller's; not NULL, aligned, and no longer than a slice may be.
    Ok((unsafe { std::slice::from_raw_parts(data, len) }, stride))
}
