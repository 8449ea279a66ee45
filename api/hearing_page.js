"use strict";
// The arithmetic of the page. Nothing here needs a browser, so that a test can run it.

// strips cuts the sound into lines of so many seconds, each with the words that begin in it: where they
// lie, in parts of the line. A word ends with its line.
function strips(data, seconds) {
  const lines = [];
  for (let i = 0; i === 0 || i * seconds < data.seconds; i++) lines.push({ start: i * seconds, words: [] });
  data.words.forEach((w, index) => {
    const i = Math.min(lines.length - 1, Math.max(0, Math.floor(w.start / seconds)));
    const left = w.start / seconds - i, right = Math.min(1, w.end / seconds - i);
    lines[i].words.push({ index, left, width: Math.max(0, right - left) });
  });
  return lines;
}

// wordAt is the number of the word that is said at a time; -1 where none is.
function wordAt(data, time) {
  return data.words.findIndex(w => w.start <= time && time < w.end);
}

// color is the scale's at a place from 0 to 1.
function color(data, place) {
  const at = place * (data.heat.length - 1), i = Math.min(Math.floor(at), data.heat.length - 2);
  return data.heat[i].map((v, c) => Math.round(v + (data.heat[i + 1][c] - v) * (at - i)));
}

// pixels are the spectrogram of a line as RGBA, [mels][columns], high tones above.
function pixels(data, cells, start, columns) {
  const first = Math.round(start * data.rate), out = new Uint8ClampedArray(4 * columns * data.mels);
  for (let c = 0; c < columns; c++) for (let m = 0; m < data.mels; m++) {
    if (first + c >= data.columns) continue;
    const at = 4 * ((data.mels - 1 - m) * columns + c);
    out.set([...color(data, cells[(first + c) * data.mels + m] / 255), 255], at);
  }
  return out;
}
