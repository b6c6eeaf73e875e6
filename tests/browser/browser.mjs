// A page in headless Chromium, and what its tests need. CHROMIUM is the program's path.

import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const FLAGS = ['--no-sandbox', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];
/** For machines that do other things too. */
const PATIENCE_MS = 90_000;

/**
 * Opens a page, lets `test` have it, and makes sure that it asked for nothing elsewhere and complained of nothing. `flags` are
 * Chromium's, `options` those of its window.
 */
export async function withPage(url, flags, options, test) {
  const launch = { executablePath: process.env.CHROMIUM, args: [...FLAGS, ...flags], timeout: PATIENCE_MS };
  const browser = await chromium.launch(launch);
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(PATIENCE_MS);
    const faults = [];
    page.on('pageerror', (error) => faults.push(error.stack));
    page.on('console', (message) => message.type() === 'error' && !/^Failed to load resource/.test(message.text()) && faults.push(message.text()));
    page.on('request', (request) => request.url().startsWith(url) || faults.push(`asked for ${request.url()}`));
    await page.goto(url);
    await test(page);
    assert.deepEqual(faults, []);
  } finally {
    await browser.close();
  }
}

/** Waits until the page has told something. */
export async function said(page, pattern) {
  await page.waitForFunction(
    ([source, flags]) => new RegExp(source, flags).test(document.getElementById('status').textContent),
    [pattern.source, pattern.flags],
  );
}

export async function press(page, ...keys) {
  for (const key of keys) await page.keyboard.press(key);
}

/** The next frame is drawn. */
export const drawn = (page) => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => setTimeout(done))));

/** Centres of the bright spots of the picture in pixels of the window, from top to bottom. */
export async function spots(page) {
  await drawn(page);
  return page.evaluate(() => {
    const canvas = document.getElementById('canvas');
    const { width, height } = canvas;
    const { data } = canvas.getContext('2d').getImageData(0, 0, width, height);
    const bright = (i) => data[4 * i] > 128;
    const seen = new Uint8Array(width * height);
    const found = [];
    for (let start = 0; start < seen.length; start++) {
      if (seen[start] || !bright(start)) continue;
      let [x, y, n] = [0, 0, 0];
      const queue = [start];
      seen[start] = 1;
      while (queue.length) {
        const i = queue.pop();
        [x, y, n] = [x + (i % width), y + Math.floor(i / width), n + 1];
        for (const j of [i - 1, i + 1, i - width, i + width]) {
          if (j >= 0 && j < seen.length && !seen[j] && bright(j)) {
            seen[j] = 1;
            queue.push(j);
          }
        }
      }
      found.push([x / n + 0.5, y / n + 0.5]);
    }
    const { left, top } = canvas.getBoundingClientRect();
    return found.map(([x, y]) => [left + x / devicePixelRatio, top + y / devicePixelRatio]).sort((a, b) => a[1] - b[1]);
  });
}
