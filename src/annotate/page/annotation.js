// The landmarks of the open image. States are never changed, only followed by others, so that undo is a step back.
//
// A landmark is `{name, point, score}`; `point` is `[x, y]` in pixels of the image, pixel centres at integers, or null while
// it has no place; `score` is that of a detection, and goes when a person moves the point.

import { clamp } from './dom.js';

const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

export class Annotation {
  #states = [{ landmarks: [], selected: -1 }];
  #at = 0;
  #saved = [];
  /** The movement that the last change was a step of. */
  #movement = null;
  width = 0;
  height = 0;
  mayRename = false;

  open({ width, height, may_rename: mayRename, landmarks }) {
    Object.assign(this, { width, height, mayRename });
    const unplaced = landmarks.findIndex((l) => l.point === null);
    this.#states = [{ landmarks, selected: unplaced < 0 ? Math.min(0, landmarks.length - 1) : unplaced }];
    this.#at = 0;
    this.#saved = landmarks;
    this.#movement = null;
  }

  get landmarks() {
    return this.#states[this.#at].landmarks;
  }

  /** Index of the selected landmark, -1 if there is none. */
  get selected() {
    return this.#states[this.#at].selected;
  }

  get current() {
    return this.landmarks[this.selected];
  }

  get dirty() {
    return !same(this.landmarks, this.#saved);
  }

  get placed() {
    return this.landmarks.filter((l) => l.point).length;
  }

  markSaved(landmarks) {
    this.#saved = landmarks;
  }

  select(index) {
    this.#states[this.#at] = { ...this.#states[this.#at], selected: index };
    this.#movement = null;
  }

  /** Index of the first landmark without a place behind `index`, around the end; -1 if all have one. */
  unplacedAfter(index) {
    const n = this.landmarks.length;
    for (let step = 1; step <= n; step++) {
      const i = (index + step) % n;
      if (!this.landmarks[i].point) return i;
    }
    return -1;
  }

  /** Why a name cannot be had, or null. */
  nameFault(name, index) {
    if (!name) return 'A name cannot be empty.';
    const taken = this.landmarks.some((l, i) => i !== index && l.name === name);
    return taken ? `There is a landmark “${name}” already.` : null;
  }

  /** Puts a landmark at a place. Steps of the same `movement` that follow each other are undone together. */
  place(index, place, movement = null) {
    const { name, point: before } = this.landmarks[index];
    const point = this.#inside(place);
    if (same(point, before)) return;
    const what = `${name} ${before ? 'moved' : 'placed'}`;
    this.#change(this.landmarks.with(index, { name, point, score: null }), index, what, movement);
  }

  clear(index) {
    const { name } = this.landmarks[index];
    this.#change(this.landmarks.with(index, { name, point: null, score: null }), index, `point of ${name} removed`);
  }

  rename(index, name) {
    const landmark = this.landmarks[index];
    this.#change(this.landmarks.with(index, { ...landmark, name }), index, `${landmark.name} renamed to ${name}`);
  }

  delete(index) {
    const landmarks = this.landmarks.toSpliced(index, 1);
    this.#change(landmarks, Math.min(index, landmarks.length - 1), `${this.landmarks[index].name} deleted`);
  }

  /** Adds a landmark with a name of its own, at a place if there is one. */
  add(place = null) {
    let number = this.landmarks.length + 1;
    while (this.landmarks.some((l) => l.name === `point${number}`)) number++;
    const landmark = { name: `point${number}`, point: place && this.#inside(place), score: null };
    this.#change([...this.landmarks, landmark], this.landmarks.length, `${landmark.name} added`);
  }

  /** Moves a landmark in the list. */
  reorder(from, to) {
    const landmarks = this.landmarks.toSpliced(from, 1).toSpliced(to, 0, this.landmarks[from]);
    this.#change(landmarks, to, `${this.landmarks[from].name} moved to position ${to + 1}`);
  }

  get canUndo() {
    return this.#at > 0;
  }

  get canRedo() {
    return this.#at < this.#states.length - 1;
  }

  /** Goes a step back; returns what was undone. */
  undo() {
    this.#movement = null;
    return this.canUndo ? this.#states[this.#at--].what : null;
  }

  redo() {
    this.#movement = null;
    return this.canRedo ? this.#states[++this.#at].what : null;
  }

  /** Inside the image, to a hundredth of a pixel. */
  #inside([x, y]) {
    const within = (value, extent) => Math.round(clamp(value, -0.5, extent - 0.5) * 100) / 100;
    return [within(x, this.width), within(y, this.height)];
  }

  #change(landmarks, selected, what, movement = null) {
    const joined = movement !== null && movement === this.#movement;
    const kept = this.#states.slice(0, joined ? this.#at : this.#at + 1);
    this.#states = [...kept, { landmarks, selected, what }];
    this.#at = this.#states.length - 1;
    this.#movement = movement;
  }
}
