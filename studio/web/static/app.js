// The studio's script. The server renders all there is; this sends what people do, puts in the pieces of answers
// as they come, and shows where words came from. Markup comes from the server alone: text is set as text.
const $ = (q, at = document) => at.querySelector(q);
const $$ = (q, at = document) => [...at.querySelectorAll(q)];
const el = (tag, props = {}, ...children) => {
  const e = Object.assign(document.createElement(tag), props);
  e.append(...children);
  return e;
};

/* Asking the server */

async function post(url, body) {
  const answer = await fetch(url, {method: 'POST', headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body ?? {})});
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.error || `The server answers ${answer.status}.`);
  return data;
}

let toastTimer;
function toast(text, act, undo) {
  const box = el('div', {}, text);
  if (undo) box.append(el('button', {onclick: () => { $('#toast').replaceChildren(); undo(); }}, act));
  $('#toast')?.replaceChildren(box);
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => $('#toast')?.replaceChildren(), undo ? 12000 : 6000);
}
const trying = f => async (...args) => {
  try { return await f(...args); } catch (e) { toast(e.message === 'Failed to fetch' ? 'The server does not answer.' : e.message); }
};

// refresh puts in what changed: the regions of the page, as the server renders them now.
const refresh = trying(async (only) => {
  const answer = await fetch(location.href, {headers: {Accept: 'text/html'}});
  if (!answer.ok) { location.href = '/studio/'; return; }
  const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
  for (const old of $$('[data-region]')) {
    if (only && old.dataset.region !== only) continue;
    const now = $(`[data-region="${old.dataset.region}"]`, page);
    if (!now) continue;
    const open = $$('details[data-folder][open]', old).map(d => d.dataset.folder);
    const at = old.scrollTop;
    old.replaceChildren(...now.childNodes);
    for (const name of ['data-busy', 'data-running']) if (now.hasAttribute(name)) old.setAttribute(name, now.getAttribute(name));
    for (const d of $$('details[data-folder]', old)) d.open ||= open.includes(d.dataset.folder);
    old.scrollTop = at;
  }
  settle();
});

/* Forms and buttons that say what they send */

// fields gathers a form: a.b is an object, a select or several of one name that the page marks are lists.
function fields(form) {
  const out = {};
  for (const e of form.elements) {
    if (!e.name || e.disabled || e.type === 'file') continue;
    if (e.type === 'checkbox' && e.dataset.bool === undefined && !e.checked) continue;
    const value = e.dataset.bool !== undefined ? e.checked : e.value;
    const [head, ...rest] = e.name.split('.');
    if (rest.length) (out[head] ??= {})[rest.join('.')] = value;
    else if (head === 'models' && form.dataset.fill) { if (value) (out.models ??= []).includes(value) || out.models.push(value); }
    else out[head] = value;
  }
  return out;
}

function ask(say, value) {
  const dialog = $('#ask-dialog'), input = $('input', dialog);
  $('span', dialog).textContent = say;
  input.value = value || '';
  dialog.returnValue = '';
  dialog.showModal();
  input.select();
  return new Promise(done => dialog.addEventListener('close', () => done(dialog.returnValue === 'ok' ? input.value : null), {once: true}));
}

document.addEventListener('submit', trying(async e => {
  const form = e.target;
  if (form.id === 'composer') { e.preventDefault(); return send(); }
  if (form.dataset.fill) { e.preventDefault(); return fill(form, e.submitter); }
  if (!form.dataset.post) return;
  e.preventDefault();
  const answer = await post(form.dataset.post, fields(form));
  form.closest('dialog')?.close();
  if (answer.go) location.href = answer.go; else refresh();
}));

document.addEventListener('click', trying(async e => {
  const b = e.target.closest('button, a');
  if (!b) return;
  const d = b.dataset;
  if (d.close !== undefined) return b.closest('dialog').close();
  if (d.dialog) return $('#' + d.dialog).showModal();
  if (d.trash) return remove(d);
  if (d.post) {
    let body = d.body ? JSON.parse(d.body) : {};
    if (d.sure && !confirm(d.sure)) return;
    if (d.ask) {
      const value = await ask(d.say, d.value);
      if (value === null) return;
      body[d.ask] = value;
    }
    const answer = await post(d.post, body);
    b.closest('dialog')?.close();
    if (answer.go) location.href = answer.go;
    else if (d.reload !== undefined || !$('[data-region]') || location.pathname.endsWith('/settings')) location.reload();
    else refresh();
    return;
  }
  if (d.more) {
    const answer = await fetch(d.more);
    const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
    b.closest('li').replaceWith(...page.body.childNodes);
    return;
  }
  if (d.fillForm) {
    for (const [name, value] of Object.entries(JSON.parse(d.fillForm))) b.form.elements[name].value = value;
    return b.form.elements.key.focus();
  }
  if (d.listModels) return offer(b);
  const msg = b.closest('.msg');
  if (!msg) return;
  if (d.copy !== undefined) { await navigator.clipboard.writeText(msg.dataset.text); return toast('Copied.'); }
  if (d.stop !== undefined) return post(`/studio/messages/${msg.dataset.id}/stop`);
  if (d.again !== undefined) { await post(`/studio/messages/${msg.dataset.id}/again`, {settings: tuned()}); return refresh(); }
  if (d.edit !== undefined) return edit(msg);
  if (d.show) { await post(`/studio/chats/${msg.dataset.chat}/leaf`, {message: d.show}); return refresh(); }
  if (d.goOn !== undefined) { await post(`/studio/chats/${msg.dataset.chat}/leaf`, {message: msg.dataset.id}); return refresh(); }
}));

async function remove(d) {
  const thing = {kind: d.trash, id: d.id};
  await post('/studio/trash', thing);
  if (d.go) {
    sessionStorage.setItem('undo', JSON.stringify({...thing, name: d.name}));
    location.href = d.go;
    return;
  }
  if (!$('[data-region]')) return location.reload();
  await refresh();
  if (['persona', 'prompt', 'job'].includes(d.trash)) { sessionStorage.setItem('undo', JSON.stringify({...thing, name: d.name})); return location.reload(); }
  undoable(thing, d.name);
}
function undoable(thing, name) {
  toast(`Deleted: ${name || thing.kind}.`, 'Undo', trying(async () => {
    await post('/studio/restore', {kind: thing.kind, id: thing.id});
    if (thing.kind === 'chat') location.href = '/studio/chats/' + thing.id;
    else location.reload();
  }));
}

async function offer(b) {
  b.disabled = true;
  try {
    const {models} = await post(b.dataset.listModels);
    const area = b.form.elements.models;
    $('#offered').replaceChildren(...models.map(name => el('li', {}, el('button', {type: 'button', onclick: () => {
      const have = area.value.split('\n').map(s => s.trim()).filter(Boolean);
      if (!have.includes(name)) area.value = [...have, name].join('\n');
    }}, '+ ' + name))));
    if (!models.length) toast('The service lists no models; write their names.');
  } finally { b.disabled = false; }
}

/* Files */

async function upload(file) {
  const answer = await fetch('/studio/files', {method: 'POST', headers: {'X-Name': encodeURIComponent(file.name || 'pasted.png'), 'Content-Type': 'application/octet-stream'}, body: file});
  const data = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(data.error || `${file.name} could not be sent.`);
  return data;
}

// adding shows files in a list while they are sent, and returns the parts.
function adding(list, parts, files) {
  for (const file of files) {
    const item = {part: null};
    const li = el('li', {className: 'loading'});
    if (file.type.startsWith('image/') && file.type !== 'image/svg+xml') {
      const img = el('img', {alt: '', src: URL.createObjectURL(file)});
      img.onerror = () => img.remove();
      li.append(img);
    }
    const drop = el('button', {type: 'button', className: 'icon', onclick: () => { parts.splice(parts.indexOf(item), 1); li.remove(); }}, '×');
    drop.setAttribute('aria-label', `Take ${file.name} away`);
    li.append(el('span', {className: 'cut', textContent: file.name}), drop);
    list.append(li);
    parts.push(item);
    item.done = upload(file).then(part => { item.part = part; li.classList.remove('loading'); }, e => { drop.click(); toast(e.message); });
  }
}
const uploaded = async parts => { await Promise.all(parts.map(p => p.done)); return parts.map(p => p.part).filter(Boolean); };

/* The composer */

const composer = $('#composer'), text = $('#text'), attached = [];
const chosen = () => $$('#models input:checked').map(i => i.value);
function tuned() {
  const out = {};
  for (const i of $$('#tune input')) if (i.value) out[i.name] = i.type === 'number' ? Number(i.value) : i.value;
  return out;
}
function showChosen() {
  const names = $$('#models input:checked').map(i => i.dataset.name);
  $('#chosen').textContent = names.join(', ') || 'Auto';
}
let sending = false;
const send = trying(async () => {
  if (sending || !text.value.trim() && !attached.length) return;
  sending = true;
  $('#send').disabled = true;
  try {
    const body = {text: text.value, parts: await uploaded(attached), models: chosen(), persona: $('#persona')?.value || '', settings: tuned(), folder: composer.dataset.folder};
    const answer = await post(composer.dataset.to, body);
    sessionStorage.removeItem(draft);
    if (answer.go) { location.href = answer.go; return; }
    text.value = '';
    attached.length = 0;
    $('#attached').replaceChildren();
    await refresh();
    bottom(true);
  } finally { sending = false; $('#send').disabled = false; }
});

const draft = 'draft ' + location.pathname;
if (composer) {
  text.value ||= sessionStorage.getItem(draft) || '';
  text.addEventListener('input', () => sessionStorage.setItem(draft, text.value));
  text.addEventListener('keydown', e => {
    if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); send(); }
  });
  $('#attach').onclick = () => { $('#files').accept = ''; $('#files').click(); };
  $('#files').onchange = e => { adding($('#attached'), attached, e.target.files); e.target.value = ''; text.focus(); };
  $('#models').addEventListener('change', e => {
    const on = $$('#models input:checked');
    // The fitting one answers alone; of others four at most.
    if (e.target.checked && e.target.value === 'auto') on.forEach(i => { i.checked = i === e.target; });
    else if (e.target.checked) { $('#models input[value=auto]').checked = false; if (chosen().length > 4) { e.target.checked = false; toast('Four models answer side by side at most.'); } }
    showChosen();
  });
  $('#model-find')?.addEventListener('input', e => {
    for (const li of $$('#models li')) li.hidden = !li.textContent.toLowerCase().includes(e.target.value.toLowerCase());
  });
  $('#saved')?.addEventListener('change', e => { if (e.target.value) location.href = e.target.value; });
  $('#stop').onclick = stopAll;
  for (const b of $$('[data-start]')) b.onclick = () => {
    text.value = b.dataset.start;
    if (b.dataset.model) { const want = b.dataset.model.split(' '); for (const i of $$('#models input')) i.checked = want.includes(i.value); showChosen(); }
    if (b.dataset.pick) { $('#files').accept = b.dataset.pick; $('#files').click(); }
    text.focus();
  };
  for (const p of $$('[popover]')) p.addEventListener('toggle', () => {
    const at = $(`[popovertarget=${p.id}]`).getBoundingClientRect();
    p.style.left = Math.max(8, Math.min(at.left, innerWidth - p.offsetWidth - 8)) + 'px';
    p.style.top = Math.max(8, at.top - p.offsetHeight - 8) + 'px';
  });
  document.addEventListener('paste', e => {
    const files = [...(e.clipboardData?.files || [])];
    if (files.length) { e.preventDefault(); adding($('#attached'), attached, files); }
  });
}
let over = 0;
addEventListener('dragenter', e => { if (composer && [...e.dataTransfer.types].includes('Files')) { over++; document.body.classList.add('over'); } });
addEventListener('dragleave', () => { if (over && !--over) document.body.classList.remove('over'); });
addEventListener('dragover', e => e.preventDefault());
addEventListener('drop', trying(async e => {
  e.preventDefault();
  over = 0;
  document.body.classList.remove('over');
  const slot = e.target.closest?.('.slot'), folder = e.target.closest?.('details[data-folder]'), chat = e.dataTransfer.getData('application/x-chat');
  if (chat && folder) { await post('/studio/chats/' + chat, {folder: folder.dataset.folder}); return refresh(); }
  if (slot) return adding($('ul', slot), slotOf(slot.dataset.slot), e.dataTransfer.files);
  if (composer && e.dataTransfer.files.length) { adding($('#attached'), attached, e.dataTransfer.files); text.focus(); }
}));
addEventListener('dragstart', e => { const a = e.target.closest?.('a.chat'); if (a) e.dataTransfer.setData('application/x-chat', a.dataset.chat); });

function edit(msg) {
  const box = $('.text', msg), before = [...box.childNodes], parts = JSON.parse(msg.dataset.parts).filter(p => p.kind !== 'text');
  const area = el('textarea', {value: msg.dataset.text, rows: 3});
  area.setAttribute('aria-label', 'Edit the message');
  const back = () => box.replaceChildren(...before);
  const again = trying(async () => {
    await post(`/studio/chats/${msg.dataset.chat}/messages`, {text: area.value, parts, parent: msg.dataset.parent, models: chosen(), persona: $('#persona')?.value || '', settings: tuned()});
    await refresh();
  });
  area.onkeydown = e => { if (e.key === 'Escape') { e.stopPropagation(); back(); } if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); again(); } };
  box.replaceChildren(el('div', {className: 'edit-box'}, area, el('p', {className: 'row'}, el('button', {className: 'primary', onclick: again}, 'Ask'), el('button', {onclick: back}, 'Cancel'))));
  area.focus();
}

/* Prompts with places */

const slots = {};
const slotOf = name => slots[name] ??= [];
for (const i of $$('[data-slot-files]')) i.onchange = () => { adding($('ul', i.closest('.slot')), slotOf(i.dataset.slotFiles), i.files); i.value = ''; };
async function fill(form, by) {
  const body = fields(form);
  body.files = {};
  for (const [name, parts] of Object.entries(slots)) body.files[name] = await uploaded(parts);
  let url = form.dataset.fill;
  if (by?.dataset.over) {
    url = form.dataset.run;
    body.slot = by.dataset.over;
    body.over = body.files[body.slot] || [];
    delete body.files[body.slot];
  }
  const answer = await post(url, body);
  location.href = answer.go;
}

/* Answers as they come */

let source;
function listen() {
  const live = $$('.msg[data-live]');
  const stop = $('#stop');
  if (stop) stop.hidden = !live.length;
  if (!live.length || source) return;
  const chat = $('#main').dataset.chat;
  source = new EventSource(`/studio/chats/${chat}/events`);
  const of = e => { const d = JSON.parse(e.data); return [$('#m-' + d.message + ' .text'), d]; };
  source.addEventListener('text', e => { const [box, d] = of(e); if (box) box.textContent = d.text; });
  source.addEventListener('piece', e => { const [box, d] = of(e); if (box) { const low = atBottom(); box.append(d.text); if (low) bottom(); } });
  const finishing = [];
  source.addEventListener('done', e => finishing.push(finish(JSON.parse(e.data).message)));
  source.addEventListener('idle', async () => {
    source.close();
    await Promise.all(finishing);
    source = null;
    refresh($('.msg[data-live]') ? undefined : 'lists'); // what ended before this listened
  });
}
const finish = trying(async id => {
  const answer = await fetch('/studio/messages/' + id, {headers: {Accept: 'text/html'}});
  if (!answer.ok) return;
  const now = new DOMParser().parseFromString(await answer.text(), 'text/html').body.firstElementChild;
  const low = atBottom(), old = $('#m-' + id);
  if (!old || !now) return;
  now.classList.toggle('chosen', old.classList.contains('chosen'));
  old.replaceWith(now);
  if (low) bottom();
  settle();
  const last = $$('.msg[data-words]').pop();
  if (last?.dataset.id === id) know(last, true, true);
});
async function stopAll() { for (const m of $$('.msg[data-live]')) await post(`/studio/messages/${m.dataset.id}/stop`).catch(() => {}); }
const thread = $('#thread');
const atBottom = () => thread && thread.scrollHeight - thread.scrollTop - thread.clientHeight < 120;
const bottom = () => { if (thread) thread.scrollTop = thread.scrollHeight; };

// settle is called whenever messages changed.
function settle() {
  listen();
  for (const t of $$('.turn.beside')) for (const m of $$('.msg', t)) { const b = $('[data-go-on]', m); if (b) b.hidden = m.classList.contains('chosen') || m.dataset.live !== undefined; }
  const job = $('#job');
  if (job?.dataset.running === 'true') setTimeout(() => refresh('job'), 1000);
}

/* Where words came from */

const lens = $('#lens'), knowledge = new Map();
let current = null, held = false;

// know gets what is known of an answer's words. To look at a page traces nothing, which would open a model; to
// point at a word does.
function know(msg, trace, quietly) {
  const id = msg.dataset.id;
  if (!knowledge.has(id)) {
    const get = query => fetch(`/studio/messages/${id}/words${query}`).then(r => r.ok ? r.json() : {words: []});
    const asking = trace ? get('?trace=1').then(d => d.words) : get('').then(d => { if (d.traceable) knowledge.delete(id); return d.words; });
    knowledge.set(id, asking);
    asking.then(words => {
      for (const span of $$('.w', msg)) { const w = wordAt(words, span); if (w?.logprob !== undefined && w.logprob < Math.log(.5)) span.classList.add('low'); }
      if (words.some(w => w.sources)) frame(msg, words, quietly);
    }, () => knowledge.delete(id));
  }
  return knowledge.get(id);
}
const wordAt = (words, span) => { const f = +span.dataset.f, t = +span.dataset.t; return words.find(w => w.from < t && w.to > f); };

// frame shows the attachment that an answer is about, before any word is pointed at.
function frame(msg, words, quietly) {
  if (current?.span || quietly && innerWidth <= 1100) return;
  const s = words.find(w => w.sources)?.sources[0];
  if (s) { lens.hidden = false; stage(s); light(null); say('Point at a word of the answer, or at the picture.'); current = {msg, words}; }
}

function figure(blob) { return $(`figure[data-blob="${blob}"]`); }

// stage puts the attachment of a source on the stage.
function stage(s) {
  const f = figure(s.blob), img = $('img', lens), audio = $('audio', lens);
  const sounds = f && (f.dataset.kind === 'sound' || f.dataset.kind === 'film');
  audio.hidden = $('.track', lens).hidden = !sounds;
  img.hidden = !f || sounds;
  $('.boxes', lens).replaceChildren();
  if (!f) return null;
  if (sounds) { if (!audio.src.endsWith(f.dataset.src)) audio.src = f.dataset.src; return audio; }
  const src = s.page && f.dataset.page ? f.dataset.page + s.page : f.dataset.src;
  if (!img.src.endsWith(src)) { img.src = src; img.alt = f.dataset.name; }
  img.onload = fit;
  fit();
  return img;
}

// fit makes the picture as large as the lens allows: small ones are hard to point at.
function fit() {
  const img = $('img', lens);
  if (img.naturalWidth) $('.stage', lens).style.width = Math.min(lens.clientWidth - 32, innerHeight * (innerWidth > 1100 ? .62 : .34) * img.naturalWidth / img.naturalHeight) + 'px';
}
addEventListener('resize', () => { if (lens && !lens.hidden) fit(); });

// light shows a source on the stage: what the model looked at stays lit.
function light(s) {
  const st = $('.stage', lens), canvas = $('canvas', lens);
  st.classList.toggle('lit', !!s?.map);
  canvas.hidden = !s?.map && canvas.hidden;
  $('.boxes', lens).replaceChildren(...(s?.boxes || []).map(b => {
    const i = el('i');
    Object.assign(i.style, {left: b[0] * 100 + '%', top: b[1] * 100 + '%', width: (b[2] - b[0]) * 100 + '%', height: (b[3] - b[1]) * 100 + '%'});
    return i;
  }));
  if (!s?.map) return;
  const {rows, cols, seen} = s.map, w = weights(s.map), most = Math.max(...w, 1), least = Math.min(...w);
  // A map that is nearly even is shown faintly: it says little.
  const strong = Math.min(1, Math.max(.5, (most * w.length / w.reduce((a, b) => a + b, 1) - 1) / 1.5));
  canvas.hidden = false;
  Object.assign(canvas, {width: cols, height: rows});
  Object.assign(canvas.style, {left: seen[0] * 100 + '%', top: seen[1] * 100 + '%', width: (seen[2] - seen[0]) * 100 + '%', height: (seen[3] - seen[1]) * 100 + '%'});
  const c = canvas.getContext('2d'), d = c.createImageData(cols, rows);
  w.forEach((v, i) => {
    const x = (v - least) / (most - least || 1); // dark where it is low, warm light where it is high
    d.data.set(x < .4 ? [12, 14, 24, strong * 190 * (1 - x / .4)] : [255, 176, 32, strong * 150 * (x - .4)], i * 4);
  });
  c.putImageData(d, 0, 0);
}
const weights = map => map.list ??= [...atob(map.weights)].map(c => c.charCodeAt(0));
const say = t => { $('#lens-says').textContent = t; };

// where says in words where a map is greatest.
function where(map) {
  const w = weights(map), i = w.indexOf(Math.max(...w)), third = (n, of, names) => names[Math.min(2, Math.floor(3 * n / of))];
  const y = third(Math.floor(i / map.cols), map.rows, ['upper', 'middle', 'lower']), x = third(i % map.cols, map.cols, ['left', 'middle', 'right']);
  return x === y ? 'the middle' : y === 'middle' ? `the ${x}` : x === 'middle' ? `the ${y} middle` : `the ${y} ${x}`;
}
const clock = s => `${Math.floor(s / 60)}:${(s % 60).toFixed(1).padStart(4, '0')}`;

const point = trying(async (span, speak) => {
  const msg = span.closest('.msg[data-words]');
  if (!msg) return;
  current = {msg, span, words: null};
  const words = await know(msg, true);
  if (current.span !== span) return;
  current.words = words;
  unmark();
  span.classList.add('at');
  const w = wordAt(words, span), s = w?.sources?.[0];
  if (!s) {
    if (!lens.hidden) { light(null); say(words.some(o => o.sources) ? `“${span.textContent}”: nothing here shows where it came from.` : 'This model does not say where its words came from.'); }
    return;
  }
  lens.hidden = false;
  const media = stage(s);
  light(s);
  const sure = w.logprob === undefined ? '' : `, ${(100 * Math.exp(w.logprob)).toFixed(0)} % likely`;
  const name = figure(s.blob)?.dataset.name || 'the attachment';
  if (s.end) {
    const from = s.start || 0, track = $('.track i', lens), place = () => { const all = media.duration || s.end; track.style.left = 100 * from / all + '%'; track.style.width = 100 * (s.end - from) / all + '%'; };
    place();
    if (media && !media.duration) { media.preload = 'metadata'; media.onloadedmetadata = place; }
    say(`“${span.textContent}” is heard at ${clock(from)}${sure}. Press Enter or click to hear it.`);
  } else if (s.map) say(`“${span.textContent}” came from ${where(s.map)} of the picture${s.share ? `, with ${(100 * s.share).toFixed(0)} % of the attention there` : ''}${sure}.`);
  else if (s.page) say(`“${span.textContent}” is written on page ${s.page} of ${name}${sure}.`);
  else say(`“${span.textContent}” came from ${s.boxes?.length > 1 ? 'these places' : 'this place'} of ${name}${sure}.`);
});
function unmark() { for (const s of $$('.w.at, .w.near')) { s.classList.remove('at', 'near'); s.style.removeProperty('--near'); } }

// play plays the sound of a word.
function play() {
  const w = current?.words && wordAt(current.words, current.span), s = w?.sources?.[0], audio = $('audio', lens);
  if (!s?.end || audio.hidden) return;
  audio.currentTime = Math.max(0, (s.start || 0) - .15);
  audio.play().catch(() => {});
  clearTimeout(play.timer);
  play.timer = setTimeout(() => audio.pause(), 1000 * (s.end - (s.start || 0) + .45));
}
if (lens) {
  thread.addEventListener('pointerover', e => { const w = e.target.closest('.w'); if (w && !held) point(w); });
  thread.addEventListener('pointerleave', () => { if (!held && current?.words) { unmark(); light(null); } });
  thread.addEventListener('click', e => {
    const w = e.target.closest('.w');
    if (!w || e.target.closest('a')) { held = false; return; }
    held = !(held && current?.span === w);
    point(w).then(play);
  });
  thread.addEventListener('keydown', e => {
    const box = e.target.closest?.('.msg[data-words] .text');
    if (!box || e.target !== box) return;
    const spans = $$('.w', box), at = spans.indexOf($('.w.at', box)), rtl = getComputedStyle(box).direction === 'rtl';
    let to = {ArrowRight: at + (rtl ? -1 : 1), ArrowLeft: at - (rtl ? -1 : 1), Home: 0, End: spans.length - 1}[e.key];
    if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); return play(); }
    if (to === undefined || !spans.length) return;
    e.preventDefault();
    to = Math.max(0, Math.min(spans.length - 1, to));
    spans[to].scrollIntoView({block: 'nearest'});
    point(spans[to]);
  });
  thread.addEventListener('focusin', e => { const box = e.target.closest?.('.msg[data-words] .text'); if (box && e.target === box && !$('.w.at', box)) { const w = $('.w', box); if (w) point(w); } });
  $('#lens-close').onclick = () => { lens.hidden = true; held = false; unmark(); };
  // The other way round: pointing at the picture marks the words that came from there.
  $('.stage', lens).addEventListener('pointermove', e => {
    if (!current?.words) return;
    const box = $('img', lens).getBoundingClientRect(), x = (e.clientX - box.left) / box.width, y = (e.clientY - box.top) / box.height;
    unmark();
    for (const span of $$('.w', current.msg)) {
      const s = wordAt(current.words, span)?.sources?.[0];
      if (!s) continue;
      let near = 0;
      if (s.map) {
        const {rows, cols, seen} = s.map, c = Math.floor(cols * (x - seen[0]) / (seen[2] - seen[0])), r = Math.floor(rows * (y - seen[1]) / (seen[3] - seen[1]));
        if (c >= 0 && c < cols && r >= 0 && r < rows) near = weights(s.map)[r * cols + c] / Math.max(...weights(s.map), 1);
      } else if (s.boxes?.some(b => x >= b[0] && x <= b[2] && y >= b[1] && y <= b[3])) near = 1;
      if (near > .3) { span.classList.add('near'); span.style.setProperty('--near', 100 * near + '%'); }
    }
  });
  $('.stage', lens).addEventListener('pointerleave', unmark);
  $('audio', lens).addEventListener('timeupdate', e => {
    if (!current?.words || e.target.paused) return;
    const t = e.target.currentTime, w = current.words.find(o => o.sources?.[0] && (o.sources[0].start || 0) <= t && o.sources[0].end >= t);
    unmark();
    if (w) for (const span of $$('.w', current.msg)) if (+span.dataset.f < w.to && +span.dataset.t > w.from) span.classList.add('at');
  });
}

/* The side, and keys */

$('#spaces')?.addEventListener('change', trying(async e => {
  if (e.target.value !== 'new') { location.href = e.target.value; return; }
  e.target.selectedIndex = [...e.target.options].findIndex(o => o.defaultSelected);
  const name = await ask('Name of the new workspace');
  if (name) location.href = (await post('/studio/workspaces', {name})).go;
}));
$('#menu')?.addEventListener('click', e => {
  const open = $('#side').classList.toggle('open');
  e.currentTarget.setAttribute('aria-expanded', open);
  if (open) $('#spaces').focus();
});
$('#main').addEventListener('pointerdown', () => { $('#side')?.classList.remove('open'); $('#menu')?.setAttribute('aria-expanded', false); });

let typing;
$('#search')?.addEventListener('input', e => {
  if (e.target.name === 'of') return; // asks a model: when it is sent
  clearTimeout(typing);
  typing = setTimeout(() => {
    history.replaceState(null, '', '?' + new URLSearchParams(new FormData($('#search'))));
    refresh('found');
  }, 200);
});

document.addEventListener('keydown', e => {
  if (e.key === 'Escape') {
    if ($('#side.open')) return $('#menu').click();
    if ($('.msg[data-live]') && !$('dialog[open]') && !$(':popover-open')) return stopAll();
    if (lens && !lens.hidden && !e.target.closest?.('dialog, [popover], #composer')) $('#lens-close').click();
  }
  if (e.ctrlKey || e.metaKey || e.altKey || e.target.closest?.('input, textarea, select, dialog[open]')) return;
  const act = {'/': () => $('#find').focus(), n: () => $('.new').click(), m: () => $('#models-button')?.click(), '?': () => $('#keys').showModal()}[e.key];
  if (act) { e.preventDefault(); act(); }
});

const undo = sessionStorage.getItem('undo');
if (undo) { sessionStorage.removeItem('undo'); const t = JSON.parse(undo); undoable(t, t.name); }
settle();
if (location.hash.startsWith('#m-')) $(location.hash)?.scrollIntoView({block: 'center'}); else bottom();
const lastAnswer = $$('.msg[data-words]').pop();
if (lastAnswer && innerWidth > 1100) know(lastAnswer, false, true);
if (composer && matchMedia('(hover: hover)').matches && !location.hash) text.focus({preventScroll: true});
