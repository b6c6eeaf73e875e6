// Begins: wires buttons, fields, keys and mouse to what they do, and opens the first image.

import * as actions from './actions.js';
import { session } from './api.js';
import { App } from './app.js';
import { showHelp } from './dialogs.js';
import { $, element, say, svg } from './dom.js';
import { watchKeys } from './keys.js';
import { listImages } from './panel.js';
import { watchPointer } from './pointer.js';
import { goTo, guardLeaving, save } from './saving.js';
import { BANDS, colour, shape } from './score.js';

const app = new App();

const BUTTONS = {
  previous: () => goTo(app, app.index - 1),
  next: () => goTo(app, app.index + 1),
  undo: () => actions.undo(app),
  redo: () => actions.redo(app),
  'zoom-out': () => actions.zoom(app, app.view.scale / 1.25),
  'zoom-in': () => actions.zoom(app, app.view.scale * 1.25),
  'zoom-actual': () => actions.zoom(app, 1),
  'zoom-fit': () => actions.fit(app),
  keys: showHelp,
  'help-close': () => $('help').close(),
  save: () => save(app),
  add: () => actions.add(app),
  up: () => actions.reorder(app, -1),
  down: () => actions.reorder(app, 1),
  clear: () => actions.clear(app),
  delete: () => actions.remove(app),
  auto: () => actions.autoShade(app),
  reset: () => actions.shade(app, 0, 0),
};

function wire() {
  for (const [id, act] of Object.entries(BUTTONS)) {
    $(id).addEventListener('click', act);
    // A mouse that presses a button leaves the focus, and so the keys, where they were.
    $(id).addEventListener('mousedown', (event) => event.preventDefault());
  }
  $('image').addEventListener('change', () => goTo(app, $('image').selectedIndex));
  $('list').addEventListener('click', (event) => {
    const at = [...$('list').children].indexOf(event.target.closest('li'));
    if (at < 0) return;
    actions.select(app, at);
    $('stage').focus();
  });
  $('list').addEventListener('dblclick', () => actions.focusName(app));
  $('name').addEventListener('change', () => actions.rename(app, $('name').value.trim()));
  for (const id of ['x', 'y']) {
    $(id).addEventListener('change', () => {
      const point = [$('x').valueAsNumber, $('y').valueAsNumber];
      if (point.every(Number.isFinite)) actions.moveTo(app, point);
    });
  }
  for (const id of ['name', 'x', 'y']) {
    $(id).addEventListener('blur', () => app.draw()); // shows what it is, if what was typed could not be had
    $(id).addEventListener('keydown', (event) => event.key === 'Enter' && $('stage').focus());
  }
  for (const id of ['contrast', 'brightness']) {
    $(id).addEventListener('input', () => app.setWindow($('contrast').valueAsNumber, $('brightness').valueAsNumber));
  }
  $('names').addEventListener('change', () => actions.showNames(app, $('names').checked));
  new ResizeObserver(() => {
    app.view.resize($('stage').clientWidth, $('stage').clientHeight);
    app.draw();
  }).observe($('stage'));
}

function legend() {
  const entries = [...BANDS.map((band, i) => [i / 2, band.label]), [null, 'placed by a person']];
  for (const [score, label] of entries) {
    const icon = svg('svg', { class: 'icon', viewBox: '-11 -11 22 22', 'aria-hidden': 'true' });
    icon.append(svg('path', { d: shape(score), stroke: colour(score) }));
    $('legend-list').append(element('li', {}, icon, label));
  }
}

async function begin() {
  const { out, images } = await session();
  Object.assign(app, { out, images });
  $('images').hidden = images.length < 2;
  listImages(images);
  legend();
  wire();
  watchKeys(app);
  watchPointer(app);
  guardLeaving(app);
  $('stage').focus();
  const asked = Number(location.hash.slice(1)) - 1;
  await app.open(images[asked] ? asked : 0);
}

begin().catch((error) => say(`The page could not begin: ${error.message}`));
