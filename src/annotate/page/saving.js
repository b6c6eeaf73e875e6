// Saving, and what is asked before anything is lost.

import * as api from './api.js';
import { ask } from './dialogs.js';
import { $, element, say } from './dom.js';
import { describeImage } from './panel.js';

let going = null;

/** Takes what is typed into a field and not entered yet; the focus goes to the image. */
function commit() {
  if (document.activeElement?.matches('#name, #x, #y')) $('stage').focus();
}

/** Saves the open image's landmarks, one save at a time; resolves to whether they are saved now. */
export function save(app) {
  commit();
  going ??= attempt(app, false).finally(() => (going = null));
  return going;
}

async function attempt(app, force) {
  const { annotation, index } = app;
  if (!annotation.dirty) {
    say('Nothing to save: the file has all of it.');
    return true;
  }
  const { landmarks } = annotation;
  let answer;
  try {
    answer = await api.save({ image: index, version: app.version, force, landmarks });
  } catch (error) {
    return failed(app, error);
  }
  if (answer.conflict) return conflict(app, answer.conflict);
  const { version, may_rename: mayRename, score, copy } = answer.saved;
  app.version = Math.max(app.version, version);
  Object.assign(app.images[index], { annotated: true, score });
  describeImage(app.images[index], index);
  if (app.index === index) {
    annotation.markSaved(landmarks);
    annotation.mayRename = mayRename;
  }
  const open = landmarks.filter((l) => !l.point).length;
  const left = open ? ` ${open} of ${landmarks.length} landmarks have no place yet.` : '';
  const kept = copy ? ` What the file was is kept in ${copy}.` : '';
  say(`Saved to ${app.out}.${left}${kept}`);
  app.draw();
  return true;
}

async function conflict(app, cause) {
  const text = `${cause}. Nothing was saved. These points can be saved into the file as it is now, `
    + 'or dropped for those that it has.';
  const choice = await ask('The file has changed', text, [
    ['stay', 'Go on without saving'],
    ['mine', 'Save these points'],
    ['theirs', 'Drop them'],
  ]);
  if (choice === 'mine') return attempt(app, true);
  if (choice !== 'theirs') {
    say('Not saved.');
    return false;
  }
  await app.open(app.index);
  return false;
}

async function failed(app, error) {
  const cause = error instanceof api.Refused
    ? error.message
    : 'The program does not answer. If it was ended, its page cannot save any more: download the landmarks.';
  const choice = await ask('Not saved', cause, [['again', 'Try again'], ['download', 'Download as CSV'], ['stay', 'Close']]);
  if (choice === 'again') return attempt(app, false);
  if (choice === 'download') download(app);
  else say('Not saved.');
  return false;
}

/** The open image's landmarks as a file of the browser's. */
function download({ annotation, images, index }) {
  const cell = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  const { landmarks, width, height } = annotation;
  const header = ['image', 'width', 'height', ...landmarks.flatMap(({ name }) => [`${name}_x`, `${name}_y`])];
  const row = [images[index].name, width, height, ...landmarks.flatMap(({ point }) => point ?? ['', ''])];
  const text = [header, row].map((cells) => cells.map(String).map(cell).join(',') + '\n').join('');
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  element('a', { href: url, download: 'landmarks.csv' }).click();
  URL.revokeObjectURL(url);
  say('Downloaded as landmarks.csv.');
}

/** Goes to another image, and asks about changes first. */
export async function goTo(app, index) {
  if (index < 0 || index >= app.images.length || index === app.index) return;
  commit();
  while (app.annotation.dirty) { // what was changed while a save went on is not saved
    const choice = await ask('Unsaved changes', `${app.images[app.index].name} has changes that are not saved.`, [
      ['save', 'Save'],
      ['discard', 'Discard'],
      ['stay', 'Stay here'],
    ]);
    if (choice === 'discard') break;
    if (choice !== 'save' || !(await save(app))) {
      app.draw(); // the list of images shows where we are
      return;
    }
  }
  await app.open(index);
}

/** The browser asks before the page is left with changes. */
export function guardLeaving(app) {
  window.addEventListener('beforeunload', (event) => {
    commit();
    if (app.annotation.dirty) event.preventDefault();
  });
}
