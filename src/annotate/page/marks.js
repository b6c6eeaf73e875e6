// The landmarks over the picture: a shape by score with a dot at the very place, a name, and the keyboard's cross.

import { $, svg } from './dom.js';
import { colour, shape } from './score.js';

const LINE = 17;
/** Where a name may stand, from its mark: to the right or left, above or below. */
const SPOTS = [[13, -8], [-13, -8], [13, 18], [-13, 18]];

export function drawMarks({ annotation, view, namesShown, cross, picture }) {
  const layer = $('marks');
  layer.setAttribute('viewBox', `0 0 ${view.width} ${view.height}`);
  const marks = annotation.landmarks
    .map((landmark, i) => ({ ...landmark, at: landmark.point && view.toScreen(landmark.point), selected: i === annotation.selected }))
    .filter(({ point }) => point);
  const shapes = marks.map(mark);
  if (cross && picture) shapes.push(crossAt(view.toScreen(cross)));
  layer.replaceChildren(...shapes);
  if (namesShown) drawNames(layer, marks, view);
}

function mark({ at: [x, y], score, selected }) {
  const group = svg('g', { class: selected ? 'mark selected' : 'mark', transform: `translate(${x} ${y})` });
  const ticks = selected ? 'M-18 0h8M10 0h8M0-18v8M0 10v8' : '';
  for (const kind of ['halo', 'line']) group.append(svg('path', { class: kind, d: shape(score) + ticks, stroke: colour(score) }));
  group.append(svg('circle', { class: 'dot', r: 1.5, fill: colour(score) }));
  return group;
}

/** Names where there is room, the selected one first; a name without room waits until the view is closer. */
function drawNames(layer, marks, view) {
  const taken = marks.map(({ at: [x, y] }) => [x - 8, y - 8, x + 8, y + 8]);
  for (const { name, score, at: [x, y], selected } of marks.toSorted((a, b) => b.selected - a.selected)) {
    if (x < 0 || y < 0 || x > view.width || y > view.height) continue;
    const text = svg('text', { fill: colour(score) });
    text.textContent = score === null ? name : `${name} ${score.toFixed(2)}`;
    layer.append(text);
    const width = text.getComputedTextLength();
    const boxOf = ([dx, dy]) => [x + dx - (dx < 0 ? width : 0), y + dy - LINE + 4, x + dx + (dx < 0 ? 0 : width), y + dy + 4];
    const free = ([l, t, r, b]) => l >= 0 && r <= view.width
      && taken.every(([l2, t2, r2, b2]) => r <= l2 || r2 <= l || b <= t2 || b2 <= t);
    const box = SPOTS.map(boxOf).find(free) ?? (selected ? boxOf(SPOTS[0]) : null);
    if (!box) {
      text.remove();
      continue;
    }
    taken.push(box);
    text.setAttribute('x', box[0]);
    text.setAttribute('y', box[3] - 4);
  }
}

function crossAt([x, y]) {
  const group = svg('g', { class: 'cross', transform: `translate(${x} ${y})` });
  for (const kind of ['halo', 'line']) group.append(svg('path', { class: kind, d: 'M-24 0H-4M4 0H24M0-24V-4M0 4V24' }));
  return group;
}
