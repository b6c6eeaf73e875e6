// Where the image lies in the viewport. `scale` is CSS pixels an image pixel; `left` and `top` are those of the corner of
// the first pixel, whose centre is (0, 0): the image covers -0.5 to width - 0.5.

import { clamp } from './dom.js';

const LARGEST = 64;
/** How much of the image stays in sight, CSS pixels. */
const KEPT = 48;

export class View {
  scale = 1;
  left = 0;
  top = 0;
  width = 1;
  height = 1;
  imageWidth = 1;
  imageHeight = 1;
  /** Whether the whole image is shown, and shall be when the window changes. */
  fitted = true;

  show(imageWidth, imageHeight) {
    Object.assign(this, { imageWidth, imageHeight });
    this.fit();
  }

  resize(width, height) {
    const centre = this.toImage([this.width / 2, this.height / 2]);
    Object.assign(this, { width, height });
    if (this.fitted) this.fit();
    else this.#put(this.scale, centre, [width / 2, height / 2]);
  }

  get fitScale() {
    return Math.min(this.width / this.imageWidth, this.height / this.imageHeight);
  }

  fit() {
    this.#put(this.fitScale, [(this.imageWidth - 1) / 2, (this.imageHeight - 1) / 2], [this.width / 2, this.height / 2]);
    this.fitted = true;
  }

  /** Zooms; what is seen at a place of the viewport stays there. */
  zoomTo(scale, at = [this.width / 2, this.height / 2]) {
    this.#put(clamp(scale, Math.min(this.fitScale, 1) / 4, LARGEST), this.toImage(at), at);
  }

  pan(dx, dy) {
    this.#put(this.scale, this.toImage([0, 0]), [dx, dy]);
  }

  /** Brings a place of the image into sight. */
  reveal(point) {
    const [x, y] = this.toScreen(point);
    const margin = Math.min(KEPT, this.width / 4, this.height / 4);
    const inside = x >= margin && x <= this.width - margin && y >= margin && y <= this.height - margin;
    if (!inside && !this.fitted) this.#put(this.scale, point, [this.width / 2, this.height / 2]);
  }

  toScreen([x, y]) {
    return [this.left + (x + 0.5) * this.scale, this.top + (y + 0.5) * this.scale];
  }

  toImage([x, y]) {
    return [(x - this.left) / this.scale - 0.5, (y - this.top) / this.scale - 0.5];
  }

  /** Whole pixels, so that an image at 100 % is not blurred. */
  #put(scale, point, at) {
    const place = (p, a, extent, room) =>
      Math.round(clamp(a - (p + 0.5) * scale, Math.min(KEPT - extent * scale, 0), Math.max(room - KEPT, 0)));
    this.left = place(point[0], at[0], this.imageWidth, this.width);
    this.top = place(point[1], at[1], this.imageHeight, this.height);
    this.scale = scale;
    this.fitted = false;
  }
}
