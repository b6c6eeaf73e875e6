/* The C API of onemark: anatomical landmark detection. See docs/embedding.md.
 *
 * A detector is opened from a weights file, looks at grey images, and is closed. Every call may be made from any thread; calls
 * with the same detector wait for each other, so that only closing it needs care: no other call with it may be under way then, or
 * follow. Nothing is printed but the cause of a fault in the library, and no thread outlives the detector that started it.
 *
 * Calls that can fail return a status, and say why in an onemark_error that the caller owns and may leave out (NULL).
 *
 * Made of capi/src/lib.rs by cbindgen: WRITE_HEADER=1 cargo test -p onemark-capi --test header */

#ifndef ONEMARK_H
#define ONEMARK_H

#include <stddef.h>
#include <stdint.h>

// Bytes of an error's message, with the 0 at its end.
#define ONEMARK_MESSAGE_SIZE 1024

// What became of a call: 0, or the exit code that the command line would end with.
typedef enum {
  // Done.
  ONEMARK_OK = 0,
  // An argument cannot be used: a null pointer, a size, a stride, a device that is none, pixels out of range.
  ONEMARK_BAD_ARGUMENT = 2,
  // The weights cannot be read, or are none.
  ONEMARK_BAD_INPUT = 3,
  // The device is not there, or cannot do it.
  ONEMARK_NO_DEVICE = 4,
  // The device failed. The detector can only be closed.
  ONEMARK_DEVICE_LOST = 5,
  // The model's numbers overflow on this image.
  ONEMARK_BAD_RESULT = 6,
  // A fault in this library. The detector can only be closed.
  ONEMARK_PANIC = 8,
} onemark_status;

// A model on a device.
typedef struct onemark_detector onemark_detector;

// Why a call failed. The caller owns it; a call that succeeds empties it.
typedef struct {
  // UTF-8 in one line, ends with 0; longer ones are cut.
  char message[ONEMARK_MESSAGE_SIZE];
} onemark_error;

// A landmark in an image.
typedef struct {
  // Position in pixels, to the right. The centre of the first pixel is at 0, and landmarks are always inside the image.
  double x;
  // Position in pixels, downwards.
  double y;
  // The estimated probability, in [0, 1], that the position is within 1.2 % of the image's longer side of where the landmark belongs.
  double score;
} onemark_landmark;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The version of this library, such as "0.1.0".
const char *onemark_version(void);

// Opens a detector from a weights file.
//
// `device` is "cpu", "gpu", "gpu:NUMBER", "gpu:PART-OF-A-NAME" or "auto", which NULL means too: a real GPU if there is one and
// the library was built with the feature gpu, else the CPU. `threads` are CPU threads of the detector's own, 0 for one a core;
// results do not depend on their number. Paths are bytes as the system has them (UTF-8 on Windows).
//
// `*detector` is closed by onemark_close; after a failure it is NULL.
//
// # Safety
// Strings end with 0; `detector` and `error` point to a place for one each, or are NULL.
onemark_status onemark_open(const char *path,
                            const char *device,
                            uint32_t threads,
                            onemark_detector **detector,
                            onemark_error *error);

// As onemark_open, with the `size` bytes of a weights file that is in memory. They are not needed afterwards.
//
// # Safety
// As onemark_open; `weights` points to `size` bytes, or is NULL.
onemark_status onemark_open_memory(const void *weights,
                                   size_t size,
                                   const char *device,
                                   uint32_t threads,
                                   onemark_detector **detector,
                                   onemark_error *error);

// Frees a detector, and ends its threads. NULL is no detector, and nothing happens.
//
// # Safety
// `detector` is of onemark_open and not closed yet, and no other call uses it.
void onemark_close(onemark_detector *detector);

// The number of landmarks that a detector finds in every image; 0 for NULL.
//
// # Safety
// `detector` is open, or NULL.
size_t onemark_landmark_count(const onemark_detector *detector);

// A landmark's name in UTF-8, in the order of detections from 0; NULL if there is no such landmark. It lasts as long as the
// detector.
//
// # Safety
// `detector` is open, or NULL.
const char *onemark_landmark_name(const onemark_detector *detector,
                                  size_t index);

// The device that was taken, with its name, in UTF-8; NULL for NULL. It lasts as long as the detector.
//
// # Safety
// `detector` is open, or NULL.
const char *onemark_device_name(const onemark_detector *detector);

// Finds all landmarks in an image of bytes: 0 is black, 255 is white.
//
// Row y of the image begins `y * stride` bytes behind `pixels`; a stride of 0 stands for rows without gaps. `landmarks` takes
// onemark_landmark_count(detector) of them, and `capacity` says how many it has room for; after a failure it is as it was.
//
// The first image of a size takes longer than those that follow.
//
// # Safety
// `detector` is open, `pixels` points to all rows, `landmarks` to room for `capacity` landmarks and `error` to one, or are NULL.
onemark_status onemark_detect_u8(onemark_detector *detector,
                                 const uint8_t *pixels,
                                 size_t width,
                                 size_t height,
                                 size_t stride,
                                 onemark_landmark *landmarks,
                                 size_t capacity,
                                 onemark_error *error);

// As onemark_detect_u8, of 16-bit pixels in the machine's byte order. `white` is white, such as 4095 for 12 bits; brighter pixels
// are clipped to it. The stride is a multiple of 2.
//
// # Safety
// As onemark_detect_u8.
onemark_status onemark_detect_u16(onemark_detector *detector,
                                  const uint16_t *pixels,
                                  uint16_t white,
                                  size_t width,
                                  size_t height,
                                  size_t stride,
                                  onemark_landmark *landmarks,
                                  size_t capacity,
                                  onemark_error *error);

// As onemark_detect_u8, of numbers: 0 is black, 1 is white, and what lies outside is refused. The stride is a multiple of 4.
//
// # Safety
// As onemark_detect_u8.
onemark_status onemark_detect_f32(onemark_detector *detector,
                                  const float *pixels,
                                  size_t width,
                                  size_t height,
                                  size_t stride,
                                  onemark_landmark *landmarks,
                                  size_t capacity,
                                  onemark_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* ONEMARK_H */
