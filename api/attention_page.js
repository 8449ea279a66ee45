"use strict";
// The arithmetic of the page: the maps of words as pipeline.Attention.WordMap computes them, and
// colours. Nothing here needs a browser, so that a test holds it equal to Go's.

// decode turns the base64 of the stages' arrays into float32, in place.
function decode(data) {
  const floats = text => new Float32Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
  for (const s of data.stages) {
    s.maps = floats(s.maps);
    s.rollout = s.rollout ? floats(s.rollout) : null;
  }
  return data;
}

// matrix is a stage as [rows][cols]: one layer and head (from 1), their mean (0), or the rollout.
function matrix(stage, pick) {
  if (pick.rollout && stage.rollout) return stage.rollout;
  const size = stage.rows * stage.cols, out = new Float64Array(size);
  let n = 0;
  for (let l = 0; l < stage.layers; l++) for (let h = 0; h < stage.heads; h++) {
    if ((pick.layer && pick.layer !== l + 1) || (pick.head && pick.head !== h + 1)) continue;
    n++;
    const at = (l * stage.heads + h) * size;
    for (let i = 0; i < size; i++) out[i] += stage.maps[at + i];
  }
  return out.map(v => v / n);
}

// mapOf is the map of a token: its row of the first stage times the stages behind.
function mapOf(data, token, matrices) {
  let row = null;
  data.stages.forEach((s, i) => {
    const m = matrices[i];
    if (i === 0) {
      row = Array.from(m.slice(token * s.cols, (token + 1) * s.cols));
      return;
    }
    const next = new Array(s.cols).fill(0);
    row.forEach((w, r) => { for (let c = 0; c < s.cols; c++) next[c] += w * m[r * s.cols + c]; });
    row = next;
  });
  const cells = new Array(data.rows * data.cols).fill(0);
  let share = 0;
  row.forEach((w, c) => { share += spread(data, cells, data.places[c], w); });
  return { cells: cells.map(v => share > 0 ? v / share : 1 / cells.length), share };
}

// spread lays the weight of a cell of a grid over the cells of the map that it covers, by area, and
// returns what it has laid: 0 for what has no place in the picture.
function spread(data, cells, [row, col, rows, cols], weight) {
  if (!rows) return 0;
  const overlap = (cell, n, at, parts) =>
    Math.max(0, Math.min((at + 1) / parts, (cell + 1) / n) - Math.max(at / parts, cell / n)) * parts;
  for (let r = 0; r < data.rows; r++) for (let c = 0; c < data.cols; c++) {
    const area = overlap(r, data.rows, row, rows) * overlap(c, data.cols, col, cols);
    cells[r * data.cols + c] += weight * area;
  }
  return weight;
}

// wordMaps are the maps of the words, means over their tokens, for a pick for each stage.
function wordMaps(data, picks) {
  const matrices = data.stages.map((s, i) => matrix(s, picks[i]));
  return data.words.map(w => {
    const all = [];
    for (let t = w.first; t <= w.last; t++) all.push(mapOf(data, t, matrices));
    const mean = of => all.reduce((sum, m) => sum + of(m), 0) / all.length;
    return { cells: all[0].cells.map((_, c) => mean(m => m.cells[c])), share: mean(m => m.share) };
  });
}

// greatest is the largest weight of some maps, the end of their colour scale.
function greatest(maps) {
  return Math.max(...maps.map(m => Math.max(...m.cells)));
}

// color is the scale's colour for a value between 0 and 1, as three numbers up to 255.
function color(data, v) {
  const x = Math.min(Math.max(v, 0), 1) * (data.heat.length - 1);
  const i = Math.min(Math.floor(x), data.heat.length - 2);
  return data.heat[i].map((c, k) => c + (data.heat[i + 1][k] - c) * (x - i));
}

// taps are the four cells around a point between 0 and 1, and what each counts, as
// vision.EnlargeMap has them: a cubic through the cells' middles.
function taps(at, cells) {
  const p = at * cells - .5, first = Math.floor(p), t = p - first;
  const weights = [((-.5 * t + 1) * t - .5) * t, (1.5 * t - 2.5) * t * t + 1, ((-1.5 * t + 2) * t + .5) * t, (.5 * t - .5) * t * t];
  return weights.map((w, k) => [Math.min(Math.max(first + k - 1, 0), cells - 1), w]);
}

// enlarge makes a map one of width by height values, row by row, cut off at 0 and its greatest.
function enlarge(data, cells, width, height) {
  const out = new Float64Array(width * height), top = Math.max(...cells, 0);
  const across = Array.from({ length: width }, (_, x) => taps((x + .5) / width, data.cols));
  for (let y = 0; y < height; y++) {
    const down = taps((y + .5) / height, data.rows);
    const line = Array.from({ length: data.cols }, (_, c) => down.reduce((sum, [r, w]) => sum + w * cells[r * data.cols + c], 0));
    for (let x = 0; x < width; x++) {
      out[y * width + x] = Math.min(Math.max(across[x].reduce((sum, [c, w]) => sum + w * line[c], 0), 0), top);
    }
  }
  return out;
}

// shade is the colour that is laid over the picture for a value between 0 and 1, and its opacity,
// which grows from none at 0 to strength: what has no weight stays as it is.
function shade(data, v, strength) {
  return [...color(data, v), Math.min(Math.max(v, 0), 1) * strength];
}
