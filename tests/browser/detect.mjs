// Detects with the page of a bundle, on SwiftShader's WebGPU: detect.mjs BUNDLE CSV IMAGE...
//
// The folder is served as any file server would. Images are given to the page's file input; the CSV is what its button saves.
// With SCREENSHOT set, a picture of the page at the end goes there; COLORS is its colour scheme.

import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { basename, extname, join, normalize } from 'node:path';
import { withPage } from './browser.mjs';

const TYPES = { '.html': 'text/html', '.js': 'text/javascript', '.css': 'text/css', '.json': 'application/json' };
const FLAGS = ['--enable-unsafe-webgpu', '--use-webgpu-adapter=swiftshader', '--enable-features=Vulkan'];
/** A model computes in software. */
const PATIENCE_MS = 1_200_000;

const [bundle, csv, ...images] = process.argv.slice(2);
const server = createServer(async (request, response) => {
  try {
    const path = normalize(decodeURIComponent(new URL(request.url, 'http://localhost').pathname));
    const file = join(bundle, path === '/' ? 'index.html' : path);
    const body = await readFile(file);
    response.writeHead(200, { 'content-type': TYPES[extname(file)] ?? 'application/octet-stream' }).end(body);
  } catch {
    response.writeHead(404).end();
  }
});
await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));

async function detect(page) {
  page.setDefaultTimeout(PATIENCE_MS);
  // What WebGPU refuses is a warning.
  const faults = [];
  page.on('console', (message) => message.type() === 'warning' && faults.push(message.text()));
  await page.locator('#files:enabled, .bad').first().waitFor();
  if (await page.locator('#files:enabled').count()) await page.locator('#files').setInputFiles(images);
  for (const image of images) {
    await page.locator(`article[data-image="${basename(image)}"], #status .bad`).first().waitFor();
  }
  if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
  faults.push(...(await page.locator('.bad').allTextContents()));
  if (faults.length) throw new Error(faults.join('\n'));
  const [download] = await Promise.all([page.waitForEvent('download'), page.locator('#download').click()]);
  await download.saveAs(csv);
}

try {
  const url = `http://127.0.0.1:${server.address().port}`;
  await withPage(url, FLAGS, { colorScheme: process.env.COLORS ?? 'light' }, detect);
} finally {
  server.close();
}
