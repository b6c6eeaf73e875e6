use super::*;
use std::ptr::{null, null_mut};

const WEIGHTS: &[u8] = include_bytes!("../../weights/cephalogram.safetensors");

fn empty() -> onemark_error {
    onemark_error { message: [1; ONEMARK_MESSAGE_SIZE] }
}

fn message(error: &onemark_error) -> String {
    let bytes = error.message.map(|c| c as u8);
    std::ffi::CStr::from_bytes_until_nul(&bytes).unwrap().to_str().unwrap().into()
}

fn opened(weights: &[u8]) -> (*mut onemark_detector, onemark_status, String) {
    let (mut detector, mut error) = (null_mut(), empty());
    let data = weights.as_ptr().cast();
    let status = unsafe { onemark_open_memory(data, weights.len(), c"cpu".as_ptr(), 1, &mut detector, &mut error) };
    (detector, status, message(&error))
}

#[test]
fn detectors_may_be_used_from_any_thread() {
    fn shared<T: Send + Sync>() {}
    shared::<onemark_detector>();
}

#[test]
fn nothing_that_is_null_is_touched() {
    unsafe {
        onemark_close(null_mut());
        assert_eq!((onemark_landmark_count(null()), onemark_landmark_name(null(), 0)), (0, null()));
        assert_eq!(onemark_device_name(null()), null());
        let mut error = empty();
        let status = onemark_open(null(), null(), 0, null_mut(), &mut error);
        assert_eq!((status, message(&error)), (onemark_status::ONEMARK_BAD_ARGUMENT, "detector is NULL".into()));
        let mut detector = std::ptr::dangling_mut();
        assert_eq!(onemark_open(null(), null(), 0, &mut detector, null_mut()), onemark_status::ONEMARK_BAD_ARGUMENT);
        assert!(detector.is_null());
        let status = onemark_detect_u8(null_mut(), null(), 1, 1, 0, null_mut(), 0, &mut error);
        assert_eq!((status, message(&error)), (onemark_status::ONEMARK_BAD_ARGUMENT, "detector is NULL".into()));
    }
}

#[test]
fn weights_that_are_none_leave_no_detector() {
    let (detector, status, message) = opened(&WEIGHTS[..1000]);
    assert!(detector.is_null() && message.starts_with("weights in memory: not a safetensors file"), "{message}");
    assert_eq!(status, onemark_status::ONEMARK_BAD_INPUT);
    assert_eq!(opened(&[]).1, onemark_status::ONEMARK_BAD_INPUT);
}

#[test]
fn arguments_are_checked_before_memory_is_read() {
    let (detector, status, _) = opened(WEIGHTS);
    assert_eq!(status, onemark_status::ONEMARK_OK);
    let nowhere = onemark_landmark { x: -1.0, y: -1.0, score: -1.0 };
    let (mut landmarks, mut error) = ([nowhere; 19], empty());
    // Three pixels: any row that the arguments promise beyond them must be refused, not read.
    let pixels = [0u16; 3];
    let mut detect = |pixels: *const u16, white, [width, height, stride, capacity]: [usize; 4]| {
        let to = landmarks.as_mut_ptr();
        let status =
            unsafe { onemark_detect_u16(detector, pixels, white, width, height, stride, to, capacity, &mut error) };
        assert_eq!(status, onemark_status::ONEMARK_BAD_ARGUMENT);
        message(&error)
    };
    let at = pixels.as_ptr();
    assert!(detect(at, 1, [3, 1, 0, 18]).contains("room for 18 landmarks, but there are 19"));
    assert!(detect(at, 0, [3, 1, 0, 19]).contains("white of 0"));
    assert!(detect(at, 1, [3, 0, 0, 19]).contains("no image has 3x0 pixels"));
    assert!(detect(at, 1, [0, 1, 0, 19]).contains("cannot make an image of 0x1"));
    assert!(detect(at, 1, [3, 1, 3, 19]).contains("3 bytes is no multiple of 2"));
    assert!(detect(at, 1, [3, 5, 4, 19]).contains("longer than their stride"));
    assert!(detect(at, 1, [usize::MAX, 1, 0, 19]).contains("no image has"));
    assert!(detect(at, 1, [3, usize::MAX, 8, 19]).contains("no image has"));
    assert!(detect(null(), 1, [3, 1, 0, 19]).contains("pixels is NULL"));
    assert!(detect(at.wrapping_byte_add(1), 1, [1, 1, 0, 19]).contains("not aligned"));
    assert_eq!(landmarks, [nowhere; 19]);
    unsafe { onemark_close(detector) };
}

#[test]
fn a_panic_is_a_status_and_the_detector_stays_shut() {
    let (detector, ..) = opened(WEIGHTS);
    let mut error = empty();
    let status = guarded(&mut error, || {
        let _work = unsafe { &*detector }.work.lock();
        panic!("of {}", 7);
    });
    assert_eq!((status, message(&error)), (onemark_status::ONEMARK_PANIC, "a fault in onemark: of 7".into()));
    let mut landmarks = [onemark_landmark { x: 0.0, y: 0.0, score: 0.0 }; 19];
    let to = landmarks.as_mut_ptr();
    let status = unsafe { onemark_detect_u8(detector, [0].as_ptr(), 1, 1, 0, to, 19, &mut error) };
    assert_eq!(status, onemark_status::ONEMARK_PANIC);
    assert!(message(&error).contains("close the detector"));
    unsafe { onemark_close(detector) };
}

#[test]
fn a_message_is_cut_between_characters_and_always_ends() {
    for (text, expected) in [
        ("e".repeat(ONEMARK_MESSAGE_SIZE), "e".repeat(ONEMARK_MESSAGE_SIZE - 1)),
        ("\u{e9}".repeat(ONEMARK_MESSAGE_SIZE), "\u{e9}".repeat(ONEMARK_MESSAGE_SIZE / 2 - 1)),
        ("two\nlines\0".into(), "two lines ".into()),
    ] {
        let mut error = empty();
        guarded(&mut error, || Err(Failure::argument(text)));
        assert_eq!(message(&error), expected);
    }
    let mut error = empty();
    assert_eq!(guarded(&mut error, || Ok(())), onemark_status::ONEMARK_OK);
    assert_eq!(message(&error), "");
}
