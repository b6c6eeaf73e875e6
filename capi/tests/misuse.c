/* What goes wrong through the C API: every call must say so, and touch nothing that it should not. Argument: the weights. */
#include "onemark.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static int faults;

static void check(int holds, const char *what, const char *message) {
    if (!holds) {
        fprintf(stderr, "does not hold: %s (%s)\n", what, message);
        faults++;
    }
}
#define CHECK(condition) check(condition, #condition, error.message)

enum { WIDTH = 90, HEIGHT = 110, STRIDE = 96, LANDMARKS = 19 };
static uint8_t pixels[STRIDE * HEIGHT];
static onemark_landmark expected[LANDMARKS];

/* Detects with a detector that other threads may share. */
static void *work(void *detector) {
    onemark_landmark found[LANDMARKS];
    onemark_error error;
    CHECK(onemark_detect_u8(detector, pixels, WIDTH, HEIGHT, STRIDE, found, LANDMARKS, &error) == ONEMARK_OK);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    return NULL;
}

int main(int argc, char **argv) {
    onemark_error error = {{0}};
    onemark_detector *detector = (onemark_detector *)&error;
    const char *weights = argc == 2 ? argv[1] : "";

    CHECK(onemark_open("no such file", "cpu", 1, &detector, &error) == ONEMARK_BAD_INPUT);
    CHECK(detector == NULL && strstr(error.message, "no such file: cannot read"));
    CHECK(onemark_open(argv[0], "cpu", 1, &detector, &error) == ONEMARK_BAD_INPUT);
    CHECK(onemark_open(weights, "toaster", 1, &detector, &error) == ONEMARK_BAD_ARGUMENT);
    CHECK(strstr(error.message, "`toaster` is not a device") != NULL);
    CHECK(onemark_open(weights, "gpu:no such card", 1, &detector, &error) == ONEMARK_NO_DEVICE);
    CHECK(onemark_open(weights, "cpu", 100000, &detector, &error) == ONEMARK_BAD_ARGUMENT);
    CHECK(onemark_open(NULL, NULL, 0, NULL, NULL) == ONEMARK_BAD_ARGUMENT);

    CHECK(onemark_open(weights, "cpu", 2, &detector, &error) == ONEMARK_OK && error.message[0] == 0);
    CHECK(onemark_landmark_count(detector) == LANDMARKS);
    CHECK(onemark_landmark_name(detector, LANDMARKS - 1) && !onemark_landmark_name(detector, LANDMARKS));
    CHECK(strncmp(onemark_device_name(detector), "cpu (2 threads", 14) == 0);

    for (size_t i = 0; i < sizeof pixels; i++)
        pixels[i] = (uint8_t)(i % STRIDE < WIDTH ? i % STRIDE * 2 + i / STRIDE % 5 * 9 : 77);
    CHECK(onemark_detect_u8(detector, pixels, WIDTH, HEIGHT, STRIDE, expected, LANDMARKS - 1, &error) ==
          ONEMARK_BAD_ARGUMENT);
    CHECK(expected[0].x == 0 && strstr(error.message, "room for 18 landmarks") != NULL);
    CHECK(onemark_detect_u8(detector, pixels, WIDTH, HEIGHT, STRIDE, expected, LANDMARKS, &error) == ONEMARK_OK);
    for (int i = 0; i < LANDMARKS; i++)
        CHECK(expected[i].x >= 0 && expected[i].x <= WIDTH - 1 && expected[i].y >= 0 && expected[i].y <= HEIGHT - 1 &&
              expected[i].score >= 0 && expected[i].score <= 1);

    /* The same image of numbers; then one of them is none. */
    static float numbers[WIDTH * HEIGHT];
    for (size_t y = 0; y < HEIGHT; y++)
        for (size_t x = 0; x < WIDTH; x++)
            numbers[y * WIDTH + x] = (float)pixels[y * STRIDE + x] / 255.0f;
    onemark_landmark found[LANDMARKS];
    CHECK(onemark_detect_f32(detector, numbers, WIDTH, HEIGHT, 0, found, LANDMARKS, &error) == ONEMARK_OK);
    CHECK(memcmp(found, expected, sizeof found) == 0);
    numbers[WIDTH + 2] = 1.5f;
    CHECK(onemark_detect_f32(detector, numbers, WIDTH, HEIGHT, 0, found, LANDMARKS, &error) == ONEMARK_BAD_ARGUMENT);
    CHECK(strstr(error.message, "pixel (2, 1) is 1.5") != NULL);

    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        CHECK(pthread_create(&threads[i], NULL, work, detector) == 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);

    onemark_close(detector);
    onemark_close(NULL);
    return faults != 0;
}
