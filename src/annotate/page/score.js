// How a score is shown: by colour, by shape and as a number, so that nobody needs the colour.

/** Vermilion, yellow, sky blue: the stops of the pictures that `detect --overlay` draws. */
const STOPS = [[255, 98, 40], [255, 214, 64], [64, 190, 255]];

export const BANDS = [
  { below: 1 / 3, label: 'below 0.33', shape: 'M0-9 8 6H-8Z' },
  { below: 2 / 3, label: '0.33 to 0.67', shape: 'M0-8.5 8.5 0 0 8.5-8.5 0Z' },
  { below: Infinity, label: 'above 0.67', shape: 'M-7 0a7 7 0 1 0 14 0a7 7 0 1 0-14 0' },
];
/** A point that a person placed. */
const PLACED = 'M-6-6H6V6H-6Z';

export function shape(score) {
  return score === null ? PLACED : BANDS.find(({ below }) => score < below).shape;
}

export function colour(score) {
  if (score === null) return '#fff';
  const t = 2 * Math.min(Math.max(score, 0), 1);
  const i = t < 1 ? 0 : 1;
  const mix = STOPS[i].map((from, c) => Math.round(from + (t - i) * (STOPS[i + 1][c] - from)));
  return `rgb(${mix.join(' ')})`;
}
