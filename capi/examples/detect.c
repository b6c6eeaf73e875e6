/* Finds landmarks in a PGM image (binary, 8 or 16 bits) and prints them as name,x,y,score.
 *
 *     cargo build --release -p onemark-capi
 *     cc -O2 -Icapi/include capi/examples/detect.c target/release/libonemark.a -lm -o detect
 *     ./detect weights/cephalogram.safetensors image.pgm [DEVICE]
 */
#define _POSIX_C_SOURCE 200809L
#include "onemark.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

struct image {
    size_t width, height;
    uint16_t white; /* the brightest value */
    uint16_t *pixels;
};

/* A number of a PGM header, up to 65535, and the one white space behind it; 0 if there is none. */
static unsigned number(FILE *file) {
    int c = getc(file);
    for (int comment = 0; comment || isspace(c) || c == '#'; c = getc(file)) {
        if (c == EOF)
            return 0;
        comment = c == '#' || (comment && c != '\n');
    }
    unsigned value = 0;
    for (; isdigit(c); c = getc(file)) {
        value = 10 * value + (unsigned)(c - '0');
        if (value > 65535)
            return 0;
    }
    return isspace(c) ? value : 0;
}

/* Returns why a file cannot be read, or NULL. */
static const char *read_pgm(FILE *file, struct image *image) {
    if (getc(file) != 'P' || getc(file) != '5')
        return "not a binary PGM";
    image->width = number(file);
    image->height = number(file);
    image->white = (uint16_t)number(file);
    size_t count = image->width * image->height;
    if (count == 0 || image->white == 0)
        return "its header has no size or no white";
    image->pixels = malloc(count * sizeof *image->pixels);
    if (!image->pixels)
        return "does not fit into memory";
    for (size_t i = 0; i < count; i++) {
        int high = image->white > 255 ? getc(file) : 0, low = getc(file);
        if (high == EOF || low == EOF)
            return "cut short";
        image->pixels[i] = (uint16_t)(high << 8 | low);
    }
    return NULL;
}

static double milliseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

/* Detects and prints; returns 0, or the exit code. */
static int detect(onemark_detector *detector, const struct image *image, onemark_error *error) {
    size_t count = onemark_landmark_count(detector);
    onemark_landmark *landmarks = calloc(count, sizeof *landmarks);
    double start = milliseconds();
    onemark_status status = onemark_detect_u16(detector, image->pixels, image->white, image->width, image->height, 0,
                                               landmarks, count, error);
    if (status == ONEMARK_OK) {
        struct rusage usage = {0};
        getrusage(RUSAGE_SELF, &usage);
        fprintf(stderr, "onemark %s on %s: %zu landmarks in %.0f ms, %ld KiB at most\n", onemark_version(),
                onemark_device_name(detector), count, milliseconds() - start, usage.ru_maxrss);
        for (size_t i = 0; i < count; i++)
            printf("%s,%.3f,%.3f,%.5f\n", onemark_landmark_name(detector, i), landmarks[i].x, landmarks[i].y,
                   landmarks[i].score);
    }
    free(landmarks);
    return (int)status;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: %s WEIGHTS IMAGE.pgm [DEVICE]\n", argv[0]);
        return ONEMARK_BAD_ARGUMENT;
    }
    struct image image = {0};
    FILE *file = fopen(argv[2], "rb");
    const char *cause = file ? read_pgm(file, &image) : "cannot be opened";
    if (file)
        fclose(file);
    if (cause) {
        fprintf(stderr, "error: %s: %s\n", argv[2], cause);
        free(image.pixels);
        return ONEMARK_BAD_INPUT;
    }

    onemark_error error;
    onemark_detector *detector;
    int status = (int)onemark_open(argv[1], argc == 4 ? argv[3] : NULL, 0, &detector, &error);
    if (status == ONEMARK_OK)
        status = detect(detector, &image, &error);
    if (status != ONEMARK_OK)
        fprintf(stderr, "error: %s\n", error.message);
    onemark_close(detector);
    free(image.pixels);
    return status;
}
