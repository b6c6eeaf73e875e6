// The landmarks over the picture: a shape by score with a dot at the very place, a name, and the keyboard's cross.

import { $, svg } from './dom.js';
import { colour, shape } from './score.js';

/** Room that a name takes to the right of its mark, about. */
const NAME_ROOM = 150;

export function drawMarks({ annotation, view, namesShown, cross, picture }) {
  const layer = $('marks');
  layer.setAttribute('viewBox', `0 0 ${view.width} ${view.height}`);
  const marks = annotation.landmarks.flatMap((landmark, i) =>
    landmark.point ? [mark(landmark, view, i === annotation.selected, namesShown)] : []);
  if (cross && picture) marks.push(crossAt(view.toScreen(cross)));
  layer.replaceChildren(...marks);
}

function mark({ name, point, score }, view, selected, named) {
  const [x, y] = view.toScreen(point);
  const group = svg('g', { class: selected ? 'mark selected' : 'mark', transform: `translate(${x} ${y})` });
  const outline = shape(score);
  const ticks = 'M-18 0h8M10 0h8M0-18v8M0 10v8';
  for (const kind of ['halo', 'line']) {
    group.append(svg('path', { class: kind, d: selected ? outline + ticks : outline, stroke: colour(score) }));
  }
  group.append(svg('circle', { class: 'dot', r: 1.5, fill: colour(score) }));
  if (named) {
    const left = x > view.width - NAME_ROOM;
    const text = svg('text', { x: left ? -13 : 13, y: -8, 'text-anchor': left ? 'end' : 'start', fill: colour(score) });
    text.textContent = score === null ? name : `${name} ${score.toFixed(2)}`;
    group.append(text);
  }
  return group;
}

function crossAt([x, y]) {
  const group = svg('g', { class: 'cross', transform: `translate(${x} ${y})` });
  for (const kind of ['halo', 'line']) group.append(svg('path', { class: kind, d: 'M-24 0H-4M4 0H24M0-24V-4M0 4V24' }));
  return group;
}
