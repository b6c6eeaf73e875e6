// What the page is about, and how it is drawn.

import { Annotation } from './annotation.js';
import * as api from './api.js';
import { $, clamp, say } from './dom.js';
import { drawMarks } from './marks.js';
import { drawPanel } from './panel.js';
import { Picture, paint } from './picture.js';
import { View } from './view.js';

export class App {
  annotation = new Annotation();
  view = new View();
  picture = null;
  /** All images: `{name, annotated, score}`. */
  images = [];
  index = -1;
  /** The file that landmarks are saved into, and which state of it the page knows. */
  out = '';
  version = 0;
  /** Logarithm to base 2, and -1 to 1; of the range of each image. */
  contrast = 0;
  brightness = 0;
  namesShown = true;
  /** Where the keyboard would place a landmark, in pixels of the image; null while it is not used. */
  cross = null;
  #frame = 0;
  #painted = '';

  /** Opens an image; what was not saved of another one is gone. */
  async open(index) {
    this.index = index;
    // Nothing that belongs to one image may be saved as another's, not even while this one is on its way.
    this.picture = null;
    this.annotation.open({ width: 0, height: 0, may_rename: false, landmarks: [] });
    let opened = null;
    try {
      opened = await api.openImage(index);
      if (this.index !== index) return; // another was asked for meanwhile
      this.picture = new Picture(opened.width, opened.height, opened.samples);
      this.version = opened.version;
      this.annotation.open(opened);
      this.view.show(opened.width, opened.height);
    } catch (error) {
      if (this.index !== index) return;
      $('failure').textContent = error instanceof api.Refused ? error.message : 'The program does not answer; was it ended?';
    }
    $('failure').hidden = opened !== null;
    this.cross = null;
    this.#painted = '';
    history.replaceState(null, '', `#${index + 1}`);
    this.draw();
    const { name } = this.images[index];
    say(opened ? `${name}: ${this.annotation.placed} of ${this.annotation.landmarks.length} landmarks placed.`
      : `${name} cannot be shown. ${$('failure').textContent}`);
  }

  /** Black and white of the picture, of 65535. */
  get shades() {
    const [low, high] = this.picture.range;
    const width = (high - low) / 2 ** this.contrast;
    const centre = (low + high - this.brightness * (high - low)) / 2;
    return [centre - width / 2, centre + width / 2];
  }

  setWindow(contrast, brightness) {
    this.contrast = clamp(contrast, -1, 7);
    this.brightness = clamp(brightness, -1, 1);
    this.draw();
  }

  /** The contrast and brightness that show the image from the 1st to the 99th percentile. */
  autoWindow() {
    const [low, high] = this.picture.range;
    const [dark, bright] = [0.01, 0.99].map((share) => this.picture.percentile(share));
    return [Math.log2((high - low) / Math.max(bright - dark, 1)), (low + high - dark - bright) / (high - low)];
  }

  /** Draws with the next frame. */
  draw() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.#drawNow();
    });
  }

  #drawNow() {
    const canvas = $('canvas');
    const density = window.devicePixelRatio;
    const { view, picture } = this;
    const wanted = picture ? [view.scale, view.left, view.top, view.width, view.height, density, ...this.shades].join() : 'none';
    if (wanted !== this.#painted) {
      this.#painted = wanted;
      canvas.width = Math.round(view.width * density);
      canvas.height = Math.round(view.height * density);
      if (picture) paint(canvas, picture, view, this.shades, density);
    }
    drawMarks(this);
    drawPanel(this);
  }
}
