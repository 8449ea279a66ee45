// Asks a server as Immich's own does (server/src/repositories/machine-learning.repository.ts): with fetch and
// FormData of Node. Usage: node client.mjs ADDRESS MODEL PICTURE TEXT; prints one object.
import { readFile } from 'node:fs/promises';

const [address, modelName, picture, text] = process.argv.slice(2);

async function predict(entries, fields) {
  const form = new FormData();
  form.append('entries', JSON.stringify(entries));
  for (const [name, value] of Object.entries(fields)) form.append(name, value);
  const response = await fetch(new URL('/predict', address), { method: 'POST', body: form });
  return { ok: response.ok, status: response.status, body: await response.json() };
}

const ping = await fetch(new URL('/ping', address), { signal: AbortSignal.timeout(2000) });
const image = new Blob([new Uint8Array(await readFile(picture))]);
const face = { modelName: 'buffalo_l', options: { minScore: 0.7 } };
console.log(JSON.stringify({
  ping: { ok: ping.ok, text: await ping.text() },
  visual: await predict({ clip: { visual: { modelName } } }, { image }),
  textual: await predict({ clip: { textual: { modelName, options: { language: 'en' } } } }, { text }),
  faces: await predict({ 'facial-recognition': { detection: face, recognition: face } }, { image }),
  unknown: await predict({ clip: { textual: { modelName: 'ViT-X__none' } } }, { text }),
  bad: await predict({ clip: { visual: {} } }, { image }),
}));
