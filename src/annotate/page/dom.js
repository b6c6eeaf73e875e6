// Elements by id, and what is told to the person.

export const $ = (id) => document.getElementById(id);

/** An element with attributes and children. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export function svg(tag, attributes = {}) {
  const made = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** Tells what happened: seen at the foot of the page, and spoken by screen readers. */
export function say(text) {
  $('status').textContent = text;
}

/** A coordinate or score as it is shown. */
export const shown = (value) => String(Math.round(value * 100) / 100);

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
