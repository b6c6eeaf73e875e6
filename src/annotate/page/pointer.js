// Mouse, pen and finger on the image.

import * as actions from './actions.js';
import { $ } from './dom.js';

/** How far from a point it is still grabbed, and how far a click may stray, CSS pixels. */
const REACH = { mouse: 12, pen: 14, touch: 24 };
const STRAY = { mouse: 3, pen: 5, touch: 8 };

export function watchPointer(app) {
  const stage = $('stage');
  /** What is going on: `{kind, id, from, at, ...}`. */
  let going = null;
  let drags = 0;

  /** In CSS pixels of the stage. A pointer is on a screen pixel, of whose centre we speak. */
  const place = ({ clientX, clientY }) => {
    const { left, top } = stage.getBoundingClientRect();
    const half = 0.5 / window.devicePixelRatio;
    return [clientX - left + half, clientY - top + half];
  };

  const nearest = (at, reach) => {
    const { annotation, view } = app;
    let [found, distance] = [-1, reach];
    annotation.landmarks.forEach(({ point }, i) => {
      if (!point) return;
      const [x, y] = view.toScreen(point);
      const d = Math.hypot(x - at[0], y - at[1]) - (i === annotation.selected ? 2 : 0);
      if (d < distance) [found, distance] = [i, d];
    });
    return found;
  };

  stage.addEventListener('pointerdown', (event) => {
    if (!app.picture || going) return;
    stage.focus({ preventScroll: true });
    const at = place(event);
    going = { kind: 'pan', id: event.pointerId, from: at, at, moved: false, click: event.button === 0, shift: event.shiftKey };
    if (event.button === 2) {
      Object.assign(going, { kind: 'window', contrast: app.contrast, brightness: app.brightness });
    } else if (event.button === 0 && !event.shiftKey) {
      const hit = nearest(at, REACH[event.pointerType] ?? REACH.mouse);
      if (hit >= 0) {
        actions.select(app, hit, { reveal: false });
        Object.assign(going, { kind: `drag ${++drags}`, point: app.annotation.current.point, click: false });
      }
    }
    stage.setPointerCapture(event.pointerId);
  });

  stage.addEventListener('pointermove', (event) => {
    if (going?.id !== event.pointerId) return;
    const at = place(event);
    const [dx, dy] = [at[0] - going.from[0], at[1] - going.from[1]];
    if (!going.moved && Math.hypot(dx, dy) <= (STRAY[event.pointerType] ?? STRAY.mouse)) return;
    going.moved = true;
    if (going.kind === 'pan') {
      app.view.pan(at[0] - going.at[0], at[1] - going.at[1]);
      app.draw();
    } else if (going.kind === 'window') {
      app.setWindow(going.contrast + dx / 100, going.brightness - dy / 400);
    } else {
      const [x, y] = going.point;
      actions.moveTo(app, [x + dx / app.view.scale, y + dy / app.view.scale], going.kind);
    }
    going.at = at;
  });

  stage.addEventListener('pointerup', (event) => {
    if (going?.id !== event.pointerId) return;
    const { moved, click, shift, from } = going;
    going = null;
    if (moved || !click) return;
    app.cross = null;
    const point = app.view.toImage(from);
    if (!inImage(app, point)) return;
    if (shift && app.annotation.current) actions.moveTo(app, point);
    else actions.placeAt(app, point);
  });

  stage.addEventListener('pointercancel', () => (going = null));
  stage.addEventListener('contextmenu', (event) => event.preventDefault());
  stage.addEventListener('wheel', (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 24 : 1;
    actions.zoom(app, app.view.scale * 2 ** (-event.deltaY * lines / 250), place(event));
  }, { passive: false });
}

function inImage({ annotation }, [x, y]) {
  return x >= -0.5 && y >= -0.5 && x <= annotation.width - 0.5 && y <= annotation.height - 0.5;
}
