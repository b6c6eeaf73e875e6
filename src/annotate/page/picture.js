// The image's pixels, and how they are painted: a window of their 16 bits becomes black to white.

/** Above so many device pixels an image pixel, pixels are seen as squares. */
const SQUARES = 3;

export class Picture {
  #levels;
  #histogram = null;

  constructor(width, height, samples) {
    this.#levels = [{ width, height, samples }];
    let [low, high] = [65535, 0];
    for (const v of samples) {
      if (v < low) low = v;
      if (v > high) high = v;
    }
    /** The darkest and the brightest pixel; at least one apart. */
    this.range = [low, Math.max(high, low + 1)];
  }

  /** The image, each side halved `k` times by averages, or as often as it can be. */
  level(k) {
    while (this.#levels.length <= k) {
      const last = this.#levels.at(-1);
      if (last.width === 1 && last.height === 1) break;
      this.#levels.push(halved(last));
    }
    const found = Math.min(k, this.#levels.length - 1);
    return { ...this.#levels[found], step: 2 ** found };
  }

  /** The value below which a share of the pixels lies. */
  percentile(share) {
    const { samples } = this.#levels[0];
    if (!this.#histogram) {
      this.#histogram = new Uint32Array(65536);
      for (const v of samples) this.#histogram[v]++;
    }
    let left = share * samples.length;
    return this.#histogram.findIndex((count) => (left -= count) < 0);
  }
}

function halved({ width, height, samples }) {
  const [w, h] = [(width + 1) >> 1, (height + 1) >> 1];
  const out = new Uint16Array(w * h);
  for (let y = 0; y < h; y++) {
    const above = 2 * y * width;
    const below = Math.min(2 * y + 1, height - 1) * width;
    for (let x = 0; x < w; x++) {
      const [a, b] = [2 * x, Math.min(2 * x + 1, width - 1)];
      out[y * w + x] = (samples[above + a] + samples[above + b] + samples[below + a] + samples[below + b] + 2) >> 2;
    }
  }
  return { width: w, height: h, samples: out };
}

const scratch = document.createElement('canvas');
const table = new Uint32Array(65536);
let tableOf = '';

/** Opaque greys: black at `low`, white at `high`. */
function greys(low, high) {
  if (tableOf !== `${low} ${high}`) {
    tableOf = `${low} ${high}`;
    for (let v = 0; v < 65536; v++) {
      const grey = Math.round(255 * Math.min(Math.max((v - low) / (high - low), 0), 1));
      table[v] = 0xff000000 | (grey * 0x010101);
    }
  }
  return table;
}

/** Paints the part of a picture that a view shows, `density` device pixels a CSS pixel. */
export function paint(canvas, picture, view, [low, high], density) {
  const context = canvas.getContext('2d');
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  const scale = view.scale * density;
  const { width, height, samples, step } = picture.level(Math.max(0, Math.floor(-Math.log2(scale))));
  // The part in sight, in pixels of this level, and one more around it for interpolation.
  const first = (corner) => Math.max(0, Math.floor(-corner / view.scale / step) - 1);
  const last = (corner, room, extent) => Math.min(extent, Math.ceil((room - corner) / view.scale / step) + 1);
  const [x0, x1] = [first(view.left), last(view.left, view.width, width)];
  const [y0, y1] = [first(view.top), last(view.top, view.height, height)];
  if (x1 <= x0 || y1 <= y0) return;
  const part = new ImageData(x1 - x0, y1 - y0);
  const out = new Uint32Array(part.data.buffer);
  const grey = greys(low, high);
  let at = 0;
  for (let y = y0; y < y1; y++) {
    for (let i = y * width + x0; i < y * width + x1; i++) out[at++] = grey[samples[i]];
  }
  [scratch.width, scratch.height] = [part.width, part.height];
  scratch.getContext('2d').putImageData(part, 0, 0);
  context.setTransform(scale, 0, 0, scale, view.left * density, view.top * density);
  context.save();
  context.beginPath();
  context.rect(0, 0, view.imageWidth, view.imageHeight); // the last pixel of a halved side may be a half
  context.clip();
  context.imageSmoothingEnabled = scale < SQUARES;
  context.drawImage(scratch, x0 * step, y0 * step, part.width * step, part.height * step);
  context.restore();
}
