// The keyboard. Keys without Ctrl act where the focus is in the image or in the list, not on buttons and in fields.

import * as actions from './actions.js';
import { showHelp } from './dialogs.js';
import { $ } from './dom.js';
import { goTo, save } from './saving.js';

const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Keys of the image and of the list; letters by their lower case, `S-` is Shift. */
const BOTH = {
  n: (app) => actions.step(app, 1),
  p: (app) => actions.step(app, -1),
  a: actions.add,
  F2: actions.focusName,
  Delete: actions.clear,
  Backspace: actions.clear,
  'S-Delete': actions.remove,
  'S-Backspace': actions.remove,
  w: actions.autoShade,
  'S-w': (app) => actions.shade(app, 0, 0),
  c: (app) => actions.shade(app, app.contrast + 0.2, app.brightness),
  'S-c': (app) => actions.shade(app, app.contrast - 0.2, app.brightness),
  b: (app) => actions.shade(app, app.contrast, app.brightness + 0.04),
  'S-b': (app) => actions.shade(app, app.contrast, app.brightness - 0.04),
  l: (app) => actions.showNames(app, !app.namesShown),
};

const IMAGE = {
  Enter: actions.placeAtCross,
  ' ': actions.placeAtCross,
  '+': (app) => actions.zoom(app, app.view.scale * 1.25),
  '=': (app) => actions.zoom(app, app.view.scale * 1.25),
  '-': (app) => actions.zoom(app, app.view.scale / 1.25),
  0: actions.fit,
  1: (app) => actions.zoom(app, 1),
};

export function watchKeys(app) {
  document.addEventListener('keydown', (event) => {
    if (document.querySelector('dialog[open]') || event.isComposing) return;
    if (anywhere(app, event) || (event.target.closest('#stage') && image(app, event))
      || (event.target.closest('#list') && list(app, event))
      || (event.target.closest('#stage, #list') && plain(app, event, BOTH))) {
      event.preventDefault();
    }
  });
}

function anywhere(app, event) {
  const { key, target, ctrlKey, metaKey, shiftKey, altKey } = event;
  const control = (ctrlKey || metaKey) && !altKey;
  const letter = key.toLowerCase();
  if (control && letter === 's') save(app);
  else if (control && (letter === 'z' || letter === 'y') && !target.matches('input:not([type=range], [type=checkbox])')) {
    if (letter === 'y' || shiftKey) actions.redo(app);
    else actions.undo(app);
  } else if (key === 'PageDown' && !control) goTo(app, app.index + 1);
  else if (key === 'PageUp' && !control) goTo(app, app.index - 1);
  else if (key === 'Escape') $('stage').focus();
  else if (key === '?' && !target.matches('input')) showHelp();
  else return false;
  return true;
}

function image(app, event) {
  const arrow = ARROWS[event.key];
  if (!arrow) return plain(app, event, IMAGE);
  const [x, y] = arrow;
  if (event.ctrlKey || event.metaKey) {
    app.view.pan(-x * app.view.width / 8, -y * app.view.height / 8);
    app.draw();
  } else {
    const by = event.shiftKey ? 10 : event.altKey ? 0.1 : 1;
    actions.nudge(app, x * by, y * by);
  }
  return true;
}

function list(app, event) {
  const { selected, landmarks } = app.annotation;
  const last = landmarks.length - 1;
  const { key, altKey, ctrlKey, metaKey, shiftKey } = event;
  if (ctrlKey || metaKey || shiftKey) return false;
  const to = { ArrowUp: selected - 1, ArrowDown: selected + 1, Home: 0, End: last }[key];
  if (to === undefined) return false;
  if (altKey && key.startsWith('Arrow')) actions.reorder(app, to - selected);
  else actions.select(app, Math.min(Math.max(to, 0), last));
  $('list').children[app.annotation.selected]?.firstChild.focus();
  return true;
}

function plain(app, { key, shiftKey, ctrlKey, metaKey, altKey }, known) {
  if (ctrlKey || metaKey || altKey) return false;
  const letter = key.length === 1 ? key.toLowerCase() : key;
  // Shift tells letters and named keys apart; signs are what they are on any keyboard.
  const shifts = shiftKey && (key.length > 1 || letter !== key);
  const action = known[shifts ? `S-${letter}` : letter];
  action?.(app);
  return action !== undefined;
}
