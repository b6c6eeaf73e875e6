// The list of landmarks and what can be done with the selected one; the header's state.

import { $, element, shown, svg } from './dom.js';
import { colour, shape } from './score.js';

export function drawPanel(app) {
  const { annotation, images, index, picture } = app;
  drawList(annotation);
  const { landmarks, selected, current, mayRename, dirty, placed } = annotation;
  $('count').textContent = landmarks.length ? `${placed} of ${landmarks.length} placed` : '';
  $('list-empty').hidden = landmarks.length > 0 || !mayRename;
  $('add').hidden = !mayRename;
  $('fixed').hidden = mayRename || !picture;
  $('legend').hidden = landmarks.every((l) => l.score === null);

  $('selected').hidden = !current;
  if (current) {
    fill('name', current.name);
    fill('x', current.point ? shown(current.point[0]) : '');
    fill('y', current.point ? shown(current.point[1]) : '');
    $('name').disabled = $('delete').disabled = !mayRename;
    $('up').disabled = !mayRename || selected === 0;
    $('down').disabled = !mayRename || selected === landmarks.length - 1;
    $('clear').disabled = !current.point;
  }

  fill('contrast', app.contrast);
  fill('brightness', app.brightness);
  $('names').checked = app.namesShown;
  $('undo').disabled = !annotation.canUndo;
  $('redo').disabled = !annotation.canRedo;
  $('save').textContent = dirty ? 'Save changes' : 'No changes';
  $('save').disabled = !dirty;
  $('zoom-actual').textContent = `${Math.round(app.view.scale * 100)} %`;
  $('zoom-actual').setAttribute('aria-label', `Zoom ${Math.round(app.view.scale * 100)} percent; to 100`);

  const name = images[index]?.name ?? '';
  $('title').textContent = name;
  $('title').classList.toggle('hidden', images.length > 1); // the list of images tells it
  document.title = `${dirty ? '• ' : ''}${name} – onemark annotate`;
  $('stage').setAttribute('aria-label', picture ? `Image ${name}, ${annotation.width} by ${annotation.height} pixels` : name);
  $('position').textContent = `${index + 1} of ${images.length}`;
  $('previous').disabled = index <= 0;
  $('next').disabled = index >= images.length - 1;
  $('image').selectedIndex = index;
}

/** Lists all images. */
export function listImages(images) {
  $('image').replaceChildren(...images.map(() => element('option')));
  images.forEach(describeImage);
}

/** What the list says of an image. */
export function describeImage({ name, annotated, score }, index) {
  const lowest = score === null ? '' : ` · lowest score ${score.toFixed(2)}`;
  $('image').options[index].textContent = `${name}${annotated ? lowest : ' · no landmarks'}`;
}

/** A field's value, unless the person is about to change it. */
function fill(id, value) {
  const field = $(id);
  if (document.activeElement !== field || field.type === 'range') field.value = value;
}

/** The icon of a landmark without a place: a dash. */
const NONE = 'M-5 0H5';

/** Buttons stay what they are, so that focus does: only texts change. */
function drawList({ landmarks, selected }) {
  const list = $('list');
  while (list.children.length > landmarks.length) list.lastChild.remove();
  while (list.children.length < landmarks.length) list.append(item());
  landmarks.forEach(({ name, point, score }, i) => {
    const button = list.children[i].firstChild;
    const [icon, title, detail] = button.children;
    icon.firstChild.setAttribute('d', point ? shape(score) : NONE);
    icon.firstChild.setAttribute('stroke', point ? colour(score) : '#9aa3ad');
    title.textContent = name;
    const place = point ? point.map(Math.round).join(', ') : 'not placed';
    detail.textContent = score === null ? place : `score ${score.toFixed(2)}`;
    button.tabIndex = i === Math.max(selected, 0) ? 0 : -1;
    if (i === selected) button.setAttribute('aria-current', 'true');
    else button.removeAttribute('aria-current');
  });
}

function item() {
  const icon = svg('svg', { class: 'icon', viewBox: '-11 -11 22 22', 'aria-hidden': 'true' });
  icon.append(svg('path'));
  const button = element('button', {}, icon, element('span', { class: 'name' }), element('span', { class: 'detail' }));
  return element('li', {}, button);
}
