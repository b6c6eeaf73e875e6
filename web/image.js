// Grey images: `{ width, height, pixels }`, pixels a Float32Array in [0, 1], row by row.

// Decodes an image file as the browser does, 8 bits a channel, and turns colour to grey as `onemark detect` does, but for what is
// transparent: a canvas makes it black, where `onemark detect` takes its colour.
export async function readGray(file) {
    let bitmap;
    try {
        bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    } catch {
        throw new Error(`${file.name}: not an image that this browser reads`);
    }
    const { width, height } = bitmap;
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    bitmap.close();
    const { data } = context.getImageData(0, 0, width, height);
    const pixels = new Float32Array(width * height);
    for (let i = 0; i < pixels.length; i++) {
        pixels[i] = (0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2]) / 255;
    }
    return { width, height, pixels };
}

// The image at a longer side of `side` pixels in the top left of a frame, 0 outside, with local contrasts if they are asked for:
// see `src/learn/dataset.rs`.
export function frameOf(image, side, frame, contrast) {
    const longest = Math.max(image.width, image.height);
    const size = [image.width, image.height].map((v) => Math.max(Math.floor((2 * v * side + longest) / (2 * longest)), 1));
    const [width, height] = frame(size);
    const pixels = new Float32Array(width * height);
    const grey = resizeArea(image, ...size);
    const scaled = contrast?.share > 0 ? localContrast(grey, size, side, contrast) : grey;
    for (let y = 0; y < size[1]; y++) {
        pixels.set(scaled.subarray(y * size[0], (y + 1) * size[0]), y * width);
    }
    return { width, height, size, original: [image.width, image.height], pixels };
}

// How each pixel differs from what is around it: see `src/data/gray.rs`.
function localContrast(pixels, size, side, { share, range, floor, least }) {
    const radius = Math.max(Math.round(side * share), 1);
    const mean = (values) => values.reduce((sum, v) => sum + v, 0) / values.length;
    const middle = mean(pixels);
    const values = Float64Array.from(pixels, (v) => v - middle);
    const squares = values.map((v) => v * v);
    const added = floor * Math.sqrt(mean(squares)) + least;
    const [means, meanSquares] = [values, squares].map((v) => boxMeans(v, size, radius));
    const contrast = (v, i) => {
        const d = (v - means[i]) / (Math.sqrt(Math.max(meanSquares[i] - means[i] ** 2, 0)) + added);
        return Math.min(Math.max(0.5 + d / range, 0), 1);
    };
    return Float32Array.from(values, contrast);
}

// The means over squares of `2 radius + 1`, as far as the image has them.
function boxMeans(values, [width, height], radius) {
    const along = (from, to, start, n, step) => {
        let sum = 0;
        for (let i = 0; i < Math.min(radius, n); i++) sum += from[start + i * step];
        for (let i = 0; i < n; i++) {
            if (i + radius < n) sum += from[start + (i + radius) * step];
            if (i > radius) sum -= from[start + (i - radius - 1) * step];
            to[start + i * step] = sum / (Math.min(i + radius, n - 1) - Math.max(i - radius, 0) + 1);
        }
    };
    const [rows, both] = [new Float64Array(values.length), new Float64Array(values.length)];
    for (let y = 0; y < height; y++) along(values, rows, y * width, width, 1);
    for (let x = 0; x < width; x++) along(rows, both, x, height, width);
    return both;
}

// Each axis by itself is box-averaged if it shrinks and linear if it grows: see `src/data/gray.rs`.
function resizeArea({ width, height, pixels }, toWidth, toHeight) {
    const out = new Float32Array(toWidth * toHeight);
    const [columns, rows] = [taps(width, toWidth), taps(height, toHeight)];
    const row = new Float32Array(width);
    rows.forEach(({ first, weights }, y) => {
        row.fill(0);
        weights.forEach((weight, j) => {
            const from = (first + j) * width;
            for (let x = 0; x < width; x++) row[x] += weight * pixels[from + x];
        });
        columns.forEach(({ first, weights }, x) => {
            out[y * toWidth + x] = weights.reduce((sum, weight, j) => sum + weight * row[first + j], 0);
        });
    });
    return out;
}

// For every output pixel of an axis, the first input pixel and the weights from there on.
function taps(from, to) {
    const boxed = (i) => {
        const [low, high] = [i * from, (i + 1) * from];
        const [first, end] = [Math.floor(low / to), Math.ceil(high / to)];
        const overlap = (j) => Math.min(high, (j + 1) * to) - Math.max(low, j * to);
        return { first, weights: Array.from({ length: end - first }, (_, j) => overlap(first + j) / from) };
    };
    const linear = (i) => {
        const x = Math.min(Math.max(((i + 0.5) * from) / to - 0.5, 0), from - 1);
        const first = Math.floor(x);
        const fraction = x - first;
        return { first, weights: fraction > 0 ? [1 - fraction, fraction] : [1] };
    };
    return Array.from({ length: to }, (_, i) => (to < from ? boxed(i) : linear(i)));
}
