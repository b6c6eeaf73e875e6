// What the program answers. Addresses are relative: the page's own begins with the token.

/** `{out, images: [{name, annotated, score}]}` */
export async function session() {
  return (await answered(await fetch('api/session'))).json();
}

/**
 * An image and its landmarks, as they are on disk now:
 * `{name, width, height, version, may_rename, landmarks: [{name, point, score}], samples}`; a sample has 16 bits.
 */
export async function openImage(index) {
  const bytes = await (await answered(await fetch(`api/images/${index}`))).arrayBuffer();
  const length = new DataView(bytes).getUint32(0, true);
  const opened = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
  return { ...opened, samples: new Uint16Array(bytes, 4 + length) };
}

/** `{saved: {version, may_rename, score, copy}}`, or `{conflict: cause}` if another program has changed the file. */
export async function save(edited) {
  const response = await fetch('api/save', {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify(edited),
  });
  return response.status === 409 ? response.json() : (await answered(response)).json();
}

/** The program's own word for what went wrong; a TypeError of `fetch` means that it does not answer at all. */
export class Refused extends Error {}

async function answered(response) {
  if (response.ok) return response;
  const text = await response.text();
  let cause = text;
  try {
    cause = JSON.parse(text).error;
  } catch {
    // A line of text.
  }
  throw new Refused(cause);
}
