// What a person can do, by mouse, keys or buttons alike; each tells what came of it.

import { $, say, shown } from './dom.js';

const placed = ({ name, point }) => `${name} at ${point.map(shown).join(', ')}.`;

/** Places the selected landmark, and goes on to the next without a place; with none to place, adds one. */
export function placeAt(app, point) {
  const { annotation } = app;
  if (!app.picture) return;
  const { current, selected } = annotation;
  if (!current || current.point) {
    const unplaced = annotation.unplacedAfter(selected);
    if (unplaced < 0 && !annotation.mayRename) {
      say('All landmarks are placed. Drag a point to move it, or Shift-click to move the selected one here.');
      return;
    }
    if (unplaced < 0) {
      annotation.add(point);
      say(`${placed(annotation.current)} F2 names it.`);
      app.draw();
      return;
    }
    annotation.select(unplaced);
  }
  const index = annotation.selected;
  annotation.place(index, point);
  const done = placed(annotation.current);
  const next = annotation.unplacedAfter(index);
  if (next >= 0) annotation.select(next);
  say(next >= 0 ? `${done} Next: ${annotation.current.name}.` : `${done} All ${annotation.landmarks.length} are placed.`);
  app.draw();
}

/** Moves the selected landmark to a place. */
export function moveTo(app, point, movement = null) {
  const { annotation } = app;
  if (!app.picture || !annotation.current) return;
  annotation.place(annotation.selected, point, movement);
  say(placed(annotation.current));
  app.draw();
}

/** Nudges that follow each other faster than this are one movement. */
const TOGETHER_MS = 1000;
let nudged = 0;
let movement = '';

/** Moves the selected point by pixels; or the cross, if it has no place yet. */
export function nudge(app, dx, dy) {
  const { annotation, view } = app;
  if (!app.picture) return;
  const by = ([x, y]) => [x + dx, y + dy];
  if (annotation.current?.point) {
    if (Date.now() - nudged > TOGETHER_MS) movement = `nudge ${Date.now()}`;
    nudged = Date.now();
    moveTo(app, by(annotation.current.point), movement);
    view.reveal(annotation.current.point);
    return;
  }
  const inside = ([x, y]) => [
    Math.min(Math.max(x, 0), annotation.width - 1),
    Math.min(Math.max(y, 0), annotation.height - 1),
  ];
  app.cross = inside(by(app.cross ?? view.toImage([view.width / 2, view.height / 2]).map(Math.round)));
  view.reveal(app.cross);
  say(`Cross at ${app.cross.map(shown).join(', ')}. Enter places ${annotation.current?.name ?? 'a new landmark'}.`);
  app.draw();
}

/** Places the selected landmark at the cross. */
export function placeAtCross(app) {
  const { annotation } = app;
  if (annotation.current?.point) say(`${placed(annotation.current)} Arrow keys move it.`);
  else if (app.cross) placeAt(app, app.cross);
  else nudge(app, 0, 0);
}

export function select(app, index, { reveal = true } = {}) {
  const { annotation } = app;
  if (index < 0 || index >= annotation.landmarks.length) return;
  annotation.select(index);
  const { name, point, score } = annotation.current;
  if (point) {
    if (reveal) app.view.reveal(point);
    say(`${placed(annotation.current)}${score === null ? '' : ` Score ${score.toFixed(2)}.`}`);
  } else {
    say(`${name} has no place yet.`);
  }
  app.draw();
}

/** Selects the next or previous landmark, around the end. */
export function step(app, by) {
  const n = app.annotation.landmarks.length;
  if (n) select(app, (app.annotation.selected + by + n) % n);
}

export function add(app) {
  if (!fixed(app)) {
    app.annotation.add();
    say(`${app.annotation.current.name} added: click where it is, or move the cross with the arrow keys and press Enter.`);
    app.draw();
  }
}

export function clear(app) {
  const { annotation } = app;
  if (!annotation.current?.point) return;
  annotation.clear(annotation.selected);
  say(`Point of ${annotation.current.name} removed.`);
  app.draw();
}

export function remove(app) {
  const { annotation } = app;
  if (!annotation.current || fixed(app)) return;
  const { name } = annotation.current;
  annotation.delete(annotation.selected);
  say(`${name} deleted.`);
  app.draw();
}

export function reorder(app, by) {
  const { annotation } = app;
  const to = annotation.selected + by;
  if (!annotation.current || to < 0 || to >= annotation.landmarks.length || fixed(app)) return;
  annotation.reorder(annotation.selected, to);
  say(`${annotation.current.name} is now ${to + 1} of ${annotation.landmarks.length}.`);
  app.draw();
}

/** Gives the selected landmark another name; says why if it cannot have it. */
export function rename(app, name) {
  const { annotation } = app;
  const before = annotation.current?.name;
  if (before === undefined || name === before || fixed(app)) return;
  const fault = annotation.nameFault(name, annotation.selected);
  if (!fault) annotation.rename(annotation.selected, name);
  say(fault ?? `${before} is now called ${name}.`);
  app.draw();
}

export function focusName(app) {
  if (!fixed(app) && app.annotation.current) {
    $('name').focus();
    $('name').select();
  }
}

/** Names are columns of all images of the file. */
function fixed(app) {
  if (app.picture && !app.annotation.mayRename) say($('fixed').textContent);
  return !app.picture || !app.annotation.mayRename;
}

export function undo(app) {
  const what = app.annotation.undo();
  say(what ? `Undone: ${what}.` : 'Nothing to undo.');
  app.draw();
}

export function redo(app) {
  const what = app.annotation.redo();
  say(what ? `Redone: ${what}.` : 'Nothing to redo.');
  app.draw();
}

/** Zooms to a scale; tells of it, unless it is a step of many. */
export function zoom(app, scale, at) {
  app.view.zoomTo(scale, at);
  if (!at) say(`Zoom ${Math.round(app.view.scale * 100)} %.`);
  app.draw();
}

export function fit(app) {
  app.view.fit();
  say('The whole image is shown.');
  app.draw();
}

/** Contrast as a power of two, brightness from -1 to 1. */
export function shade(app, contrast, brightness) {
  app.setWindow(contrast, brightness);
  say(`Contrast ${shown(2 ** app.contrast)} times, brightness ${Math.round(100 * app.brightness)} %.`);
}

/** Contrast and brightness from the image: its 1st percentile is black, its 99th white. */
export function autoShade(app) {
  if (app.picture) shade(app, ...app.autoWindow());
}

export function showNames(app, shownNow) {
  app.namesShown = shownNow;
  say(shownNow ? 'Names are shown in the image.' : 'Names are hidden in the image.');
  app.draw();
}
