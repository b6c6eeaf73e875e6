// Questions and help, in modal dialogs.

import { $, element } from './dom.js';

/** Asks; `choices` are `[value, label]`, the first one the safest. Resolves to the value, or null on Escape. */
export function ask(title, text, choices) {
  const dialog = $('ask');
  if (dialog.open) return Promise.resolve(null);
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  const before = document.activeElement;
  return new Promise((resolve) => {
    let chosen = null;
    const buttons = choices.map(([value, label]) => {
      const button = element('button', {}, label);
      button.addEventListener('click', () => {
        chosen = value;
        dialog.close();
      });
      return button;
    });
    buttons[0].classList.add('primary');
    $('ask-choices').replaceChildren(...buttons);
    dialog.addEventListener('close', () => {
      before?.focus();
      resolve(chosen);
    }, { once: true });
    dialog.showModal();
    buttons[0].focus();
  });
}

export function showHelp() {
  if (!document.querySelector('dialog[open]')) $('help').showModal();
}
