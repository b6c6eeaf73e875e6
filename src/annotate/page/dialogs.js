// Questions and help, in modal dialogs.

import { $, element } from './dom.js';

/** Answers the question that is asked; of one that is answered, does nothing. */
let settle = () => {};

// The event comes a while after the dialog is closed: by then the next question may be asked.
$('ask').addEventListener('close', () => {
  if (!$('ask').open) settle(null);
});

/** Asks; `choices` are `[value, label]`, the first one the safest. Resolves to the value, or null on Escape. */
export function ask(title, text, choices) {
  const dialog = $('ask');
  if (dialog.open) return Promise.resolve(null);
  settle(null);
  $('ask-title').textContent = title;
  $('ask-text').textContent = text;
  const before = document.activeElement;
  return new Promise((resolve) => {
    settle = (value) => {
      settle = () => {};
      before?.focus();
      resolve(value);
    };
    const buttons = choices.map(([value, label]) => {
      const button = element('button', {}, label);
      button.addEventListener('click', () => {
        dialog.close();
        settle(value);
      });
      return button;
    });
    buttons[0].classList.add('primary');
    $('ask-choices').replaceChildren(...buttons);
    dialog.showModal();
    buttons[0].focus();
  });
}

export function showHelp() {
  if (!document.querySelector('dialog[open]')) $('help').showModal();
}
