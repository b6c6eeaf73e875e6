// What a person does on the page of `onemark annotate`: node annotate.mjs SCENARIO URL [ARGUMENT]
// `tests/annotate/` starts the program, runs these and looks at the files.

import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { drawn, press, said, spots, withPage } from './browser.mjs';

const [scenario, url, argument] = process.argv.slice(2);
const status = (page) => page.textContent('#status');
const dialog = (page, name) => page.getByRole('dialog').getByRole('button', { name }).click();
const selected = (page) => page.locator('#list [aria-current]');

/** Where the selected mark is, in pixels of the window. */
async function mark(page) {
  await drawn(page);
  const { x, y, width, height } = await page.locator('#marks .selected .dot').boundingBox();
  return [x + width / 2, y + height / 2];
}

async function drag(page, dx, dy) {
  const [x, y] = await mark(page);
  await page.mouse.move(x, y);
  await page.mouse.down();
  await page.mouse.move(x + dx / 2, y + dy / 2);
  await page.mouse.move(x + dx, y + dy);
  await page.mouse.up();
}

const scenarios = {
  /** Clicks on the bright spots of three images, at three zoom levels. */
  async place(page) {
    for (const zoom of [1, 2, 8]) {
      const count = await page.locator('#list li').count();
      for (let k = 0; k < count; k++) {
        await press(page, '0', '1');
        const at = (await spots(page))[k];
        await page.mouse.move(...at);
        if (zoom > 1) await page.mouse.wheel(0, -250 * Math.log2(zoom));
        await page.waitForFunction((label) => document.getElementById('zoom-actual').textContent === label, `${100 * zoom} %`);
        const distance = ([x, y]) => Math.hypot(x - at[0], y - at[1]);
        const [spot] = (await spots(page)).sort((a, b) => distance(a) - distance(b));
        assert(distance(spot) <= zoom, 'what is under the mouse stays there');
        // A mouse is on whole pixels.
        await page.mouse.click(...spot.map(Math.floor));
      }
      await said(page, /All 19 are placed/);
      await press(page, 'Control+s');
      await said(page, /^Saved to/);
      if (zoom < 8) {
        await press(page, 'PageDown');
        await said(page, /: 0 of 19 landmarks placed/);
      }
    }
  },

  /** Corrects one point of the second image. */
  async correct(page) {
    assert(await page.getByText('Names cannot be changed').isVisible());
    await press(page, 'PageDown');
    await said(page, /p1\.png: 4 of 4/);
    await drawn(page);
    // What is typed counts before it is entered, and is none of the next image's.
    const typed = await page.inputValue('#x');
    await page.fill('#x', '5');
    await press(page, 'PageDown');
    await dialog(page, 'Discard');
    await said(page, /p2\.png: 4 of 4/);
    await press(page, 'PageUp');
    await said(page, /p1\.png: 4 of 4/);
    await drawn(page);
    assert.equal(await page.inputValue('#x'), typed);
    // Of another point, a drag that is taken back.
    await press(page, 'n');
    await drawn(page);
    const before = await page.inputValue('#x');
    await drag(page, 40, 0);
    await drawn(page);
    assert.notEqual(await page.inputValue('#x'), before);
    await press(page, 'Control+z');
    await said(page, /^Undone: .* moved\./);
    await drawn(page);
    assert.equal(await page.inputValue('#x'), before);
    assert(await page.getByRole('button', { name: 'No changes' }).isDisabled());
    // The last landmark, from the list.
    await page.locator('#list button').last().click();
    assert.match(await selected(page).textContent(), /score/);
    await drag(page, -60, 30);
    assert.doesNotMatch(await selected(page).textContent(), /score/);
    const scale = Number.parseInt(await page.textContent('#zoom-actual')) / 100;
    await page.getByRole('button', { name: 'Save changes' }).click();
    await said(page, /^Saved to pred\.csv\. What the file was is kept in pred\.csv\.bak\.$/);
    console.log(JSON.stringify({ dx: -60 / scale, dy: 30 / scale }));
  },

  /** No mouse: places, adds, renames, reorders, deletes, undoes, saves. */
  async keyboard(page) {
    await press(page, 'ArrowLeft');
    await said(page, /^Cross at .* Enter places a\./);
    const [x, y] = (await status(page)).match(/[\d.]+/g).map(Number);
    await press(page, 'Shift+ArrowRight', 'Shift+ArrowDown', 'Alt+ArrowUp', 'Enter');
    await said(page, new RegExp(`^a at ${x + 10}, ${y + 9.9}. Next: b.$`.replaceAll('.', '\\.')));
    await press(page, 'Enter', 'p', 'ArrowUp', 'ArrowUp', 'ArrowUp');
    await said(page, /^a at/);
    await press(page, 'Control+z');
    await said(page, /^Undone: a moved\./);
    await press(page, 'Control+y', 'a', 'F2');
    await page.keyboard.type('c, d');
    await press(page, 'Enter', 'Enter', 'Tab');
    await said(page, /^c, d at/);
    await press(page, 'Alt+ArrowUp');
    await said(page, /^c, d is now 2 of 3\./);
    await press(page, 'End', 'Shift+Delete');
    await said(page, /^b deleted\./);
    await press(page, 'Escape', 'F2');
    await page.keyboard.type('a');
    await press(page, 'Enter');
    await said(page, /^There is a landmark “a” already\./);
    await press(page, 'Control+s');
    await said(page, /^Saved/);
    console.log(JSON.stringify({ a: [x + 10, y + 6.9], c: [x + 10, y + 9.9] }));

    // All that can be used can be reached and has a name.
    const reached = new Set();
    for (let i = 0; i < 40; i++) {
      await press(page, 'Tab');
      reached.add(await page.evaluate(() => document.activeElement.id || document.activeElement.closest('[id]')?.id));
    }
    const usable = await page.evaluate(() => [...document.querySelectorAll('button, input, select, [tabindex="0"]')]
      .filter((e) => e.checkVisibility() && !e.disabled && e.tabIndex === 0 && e.id).map((e) => e.id));
    assert.deepEqual(usable.filter((id) => !reached.has(id)), []);
    assert(reached.has('list'));
    const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, select, dialog')]
      .filter((e) => !(e.getAttribute('aria-label') || e.labels?.length || e.hasAttribute('aria-labelledby') || e.textContent.trim()))
      .map((e) => e.outerHTML));
    assert.deepEqual(nameless, []);
  },

  /** Another program changes the file in between; `argument` is the file. */
  async conflict(page) {
    const change = (from, to) => {
      const text = readFileSync(argument, 'utf8');
      assert(text.includes(from));
      writeFileSync(argument, text.replace(from, to));
    };
    change('one', 'two');
    await press(page, 'ArrowRight', 'Control+s');
    const text = await page.getByRole('dialog').textContent();
    assert.match(text, /pred\.csv was changed by another program since it was read\. Nothing was saved\./);
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Go on without saving');
    await press(page, 'Enter');
    await said(page, /^Not saved/);
    assert(!readFileSync(argument, 'utf8').includes('one'));
    await press(page, 'Control+s');
    await dialog(page, 'Save these points');
    await said(page, /^Saved/);
    change('two', 'three');
    await press(page, 'ArrowRight', 'Control+s');
    await dialog(page, 'Drop them');
    await said(page, /p0\.png: 4 of 4/);
    assert(await page.getByRole('button', { name: 'No changes' }).isVisible());
  },

  /** Unsaved work is asked about. */
  async leave(page) {
    await press(page, 'ArrowRight', 'PageDown');
    // Asked again before the page has noticed that the first question is closed.
    await page.getByRole('button', { name: 'Stay here' }).waitFor();
    await page.evaluate(() => {
      [...document.querySelectorAll('#ask-choices button')].find(({ textContent }) => textContent === 'Stay here').click();
      document.dispatchEvent(new KeyboardEvent('keydown', { key: 'PageDown', bubbles: true }));
    });
    assert.equal(await page.locator('#position').textContent(), '1 of 3');
    await dialog(page, 'Discard');
    await said(page, /p1\.png/);
    await press(page, 'ArrowRight', 'PageUp');
    await dialog(page, 'Save');
    await said(page, /p0\.png/);
    await press(page, 'ArrowRight');
    const asked = page.waitForEvent('dialog');
    await page.close({ runBeforeUnload: true });
    assert.equal((await asked).type(), 'beforeunload');
    await (await asked).dismiss();
    await press(page, 'Control+z', 'PageDown', 'PageDown');
    await said(page, /p2\.png cannot be shown. .*p2\.png: .*truncated/);
    assert(await page.locator('#failure').isVisible());
  },

  /** The program, whose process is `argument`, ends before the landmarks are saved. */
  async ended(page) {
    await press(page, 'Enter', 'Enter');
    await said(page, /^a at/);
    process.kill(Number(argument), 'SIGINT');
    // It may answer a little longer.
    while (await fetch(page.url()).then(() => true, () => false)) await page.waitForTimeout(20);
    await press(page, 'Control+s');
    await dialog(page, 'Try again');
    const download = page.waitForEvent('download');
    await dialog(page, 'Download as CSV');
    console.log(readFileSync(await (await download).path(), 'utf8'));
    assert(await page.getByRole('button', { name: 'Save changes' }).isVisible());
  },

  /** Contrast of a 16-bit image that uses a fraction of its range; sizes from 320 pixels; pictures into a folder. */
  async look(page) {
    const greys = async () => {
      await drawn(page);
      return page.evaluate(() => {
        const canvas = document.getElementById('canvas');
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const seen = new Set();
        for (let i = 0; i < data.length; i += 4) if (data[i + 3] === 255) seen.add(data[i]);
        return { low: Math.min(...seen), high: Math.max(...seen), distinct: seen.size };
      });
    };
    const full = await greys();
    assert(full.low === 0 && full.high === 255 && full.distinct > 128, JSON.stringify(full));
    await press(page, 'Shift+C', 'Shift+C', 'Shift+C', 'Shift+C', 'Shift+C');
    const flat = await greys();
    assert(flat.low > 32 && flat.high < 224, JSON.stringify(flat));
    await press(page, 'Shift+W');
    assert.deepEqual(await greys(), full);
    await press(page, 'PageDown');
    await said(page, /p0\.png/);
    const picture = (name) => page.screenshot({ path: join(argument, `${name}.png`) });
    await picture('light');
    await page.emulateMedia({ colorScheme: 'dark' });
    await picture('dark');
    for (const [width, height] of [[400, 700], [320, 480], [700, 320]]) {
      await page.setViewportSize({ width, height });
      await drawn(page);
      await picture(`${width}x${height}`);
      const [overflow, room] = await page.evaluate(() =>
        [document.documentElement.scrollWidth - innerWidth, document.getElementById('stage').clientHeight]);
      assert(overflow <= 0 && room >= 100, `${width}x${height}: ${overflow} too wide, ${room} for the image`);
    }
  },
};

await withPage(url, ['--disable-gpu'], {}, async (page) => {
  await said(page, /landmarks placed/);
  await scenarios[scenario](page);
});
