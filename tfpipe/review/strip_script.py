"""What moves in the page of files: spans along a photo, drawn and dragged with the mouse."""

from tfpipe.base.html import Html
from tfpipe.review.strip_drawing import DRAWING

KEYS = Html(
    "Drag on the ice draws a span, drag a span or its edges moves it, with <kbd>Shift</kbd> all "
    "that are open of the table. <kbd>Enter</kbd> accepts, <kbd>x</kbd> deletes, "
    "<kbd>d</kbd> dubious, <kbd>1</kbd> <kbd>2</kbd> choose the kind, "
    "<kbd>u</kbd> undo, <kbd>a</kbd> accepts all that is open, <kbd>n</kbd> nothing else is here: "
    "the whole photo is validated, also one without any layer, <kbd>\N{UPWARDS ARROW}</kbd> "
    "<kbd>\N{DOWNWARDS ARROW}</kbd> choose a span, <kbd>\N{LEFTWARDS ARROW}</kbd> "
    "<kbd>\N{RIGHTWARDS ARROW}</kbd> the photo, <kbd>r</kbd> looks for what others have decided. "
    "States: grey predicted (dashed: of the table), orange dubious, green validated."
)
MARKUP = Html(
    '<div class="desk"><ul class="files" id="files"></ul><div><p id="says" class="soft"></p>'
    '<div id="core"><img id="ice" alt="the core, depth downwards"><div id="depth" hidden></div>'
    '</div></div><ul id="list"></ul></div>'
)
SCRIPT = (
    DRAWING
    + """
function choose(what) {
  current = what;
  draw();
  const own = [...core.querySelectorAll('.span')].find(one => one.dataset.what === what);
  if (own) own.scrollIntoView({block: 'center'});
}
async function open(id) {
  const waits = 'Opening ' + (files.find(one => one.id === id) || {}).key + ' ...';
  say(waits);
  const found = await ask('file/' + id);
  if (said.textContent === waits) say('');
  if (!found) return;
  file = found;
  const first = file.spans.find(one => one.state === 'predicted') || file.spans[0];
  current = first ? first.what : '';
  zoom = 300 / file.width;
  ice.width = 300;
  ice.height = file.height * zoom;
  core.style.width = '300px';
  core.style.height = file.height * zoom + 'px';
  ice.src = 'file/' + id + '/image';
  if (current) choose(current);
  else { draw(); window.scrollTo(0, 0); }
}
function decide(action, what, label, depths) {
  const id = file.id;
  return then(async () => {
    const found = await ask('decide', {who: name.value, id, action, what: what || '',
      label: label || '', depths_m: depths || [0, 0]});
    if (found) {
      if (action === 'draw') {
        const before = new Set(file.spans.map(one => one.what));
        const made = found.spans.find(one => !before.has(one.what));
        if (made) current = made.what;
      }
      Object.assign(files.find(one => one.id === id), {whole: found.whole.state,
        decided: found.spans.filter(one => one.state !== 'predicted').length});
      if (file.id === id) file = found;
      mine.add(what || current);
      say('Saved in ' + told.file + ': ' + action + ' ' + (what || '') +
          (found.over ? '. ' + found.over : ''));
    }
    draw();  // without an answer everything stands where it was
    return found;
  });
}
function undo() {
  then(async () => {
    const found = await ask('undo', {who: name.value});
    if (!found) return;
    for (const one of found.items) Object.assign(files.find(each => each.id === one.id), one);
    mine.delete(found.what);
    const own = files.find(one => one.key === found.file);
    if (own) await open(own.id);
    if (file.spans.some(one => one.what === found.what)) choose(found.what);
    say('Undone: ' + found.what + ' of ' + found.file);
  });
}
function step(by) {
  if (!file.spans.length) return;
  const at = file.spans.findIndex(one => one.what === current);
  choose(file.spans[Math.max(0, Math.min(file.spans.length - 1, at + by))].what);
}
function turn(by) {
  const at = files.findIndex(one => one.id === file.id);
  open(files[Math.max(0, Math.min(files.length - 1, at + by))].id);
}
async function all() {
  for (const one of file.spans.filter(each => each.state === 'predicted')) {
    if (!await decide('accept', one.what)) return;
  }
}
async function together(by) {  // as where a photo's table could not be aligned
  const open = file.spans.filter(one => one.state === 'predicted' && origin(one) === 'tabled');
  for (const one of open) {
    if (!await decide('move', one.what, '', [one.top_m + by, one.bottom_m + by])) return;
  }
}
core.addEventListener('pointerdown', event => {
  if (!file || event.button) return;
  const own = event.target.closest('.span'), at = under(event);
  core.setPointerCapture(event.pointerId);
  if (own) {
    const one = file.spans.find(each => each.what === own.dataset.what);
    const edge = event.target.tagName === 'I' ? event.target.className : 'both';
    choose(one.what);
    drag = {one, edge, at, top_m: one.top_m, bottom_m: one.bottom_m, all: event.shiftKey};
    drag.own = [...core.querySelectorAll('.span')].find(e => e.dataset.what === one.what);
  } else {
    drag = {at, own: element('div', {className: 'span drawing'}, element('span', {}))};
    core.append(drag.own);
    drag.top_m = drag.bottom_m = metres(at);
  }
  event.preventDefault();
});
core.addEventListener('pointermove', event => {
  if (!file) return;
  const y = under(event);
  depth.hidden = false;
  depth.style.top = y + 'px';
  depth.textContent = metres(y).toFixed(4) + ' m';
  if (!drag) return;
  if (drag.one) {
    const by = metres(y) - metres(drag.at);
    drag.top_m = drag.one.top_m + (drag.edge === 'bottom' ? 0 : by);
    drag.bottom_m = drag.one.bottom_m + (drag.edge === 'top' ? 0 : by);
  } else {
    drag.top_m = Math.min(metres(drag.at), metres(y));
    drag.bottom_m = Math.max(metres(drag.at), metres(y));
  }
  put(drag.own, drag.top_m, drag.bottom_m);
  drag.own.querySelector('span').textContent = drag.top_m.toFixed(4) + ' to ' +
    drag.bottom_m.toFixed(4) + ' m, ' + (1000 * (drag.bottom_m - drag.top_m)).toFixed(1) + ' mm';
});
core.addEventListener('pointerup', event => {
  if (!drag) return;
  const was = drag, moved = Math.abs(under(event) - drag.at) >= 2;
  drag = null;
  if (!moved) draw();
  else if (was.one && was.all) together(metres(under(event)) - metres(was.at));
  else if (was.one) decide('move', was.one.what, '', [was.top_m, was.bottom_m]);
  else decide('draw', '', '', [was.top_m, was.bottom_m]);
});
core.addEventListener('pointercancel', () => { drag = null; draw(); });
core.addEventListener('pointerleave', () => { depth.hidden = true; });
document.addEventListener('keydown', event => {
  if (typing(event) || !file || drag) return;
  const number = '123456789'.indexOf(event.key);
  const keys = {ArrowDown: () => step(1), ArrowUp: () => step(-1), ArrowRight: () => turn(1),
    ArrowLeft: () => turn(-1), u: undo, a: all, n: () => decide('accept', 'whole'),
    r: () => then(() => load(true))};
  const about = {Enter: 'accept', x: 'delete', Delete: 'delete', d: 'dubious'};
  if (keys[event.key]) keys[event.key]();
  else if (!file.spans.length && event.key === 'd') decide('dubious', 'whole');
  else if (!current) return;
  else if (number >= 0 && number < told.labels.length) {
    decide('label', current, told.labels[number]);
  } else if (about[event.key]) decide(about[event.key], current);
  else return;
  event.preventDefault();
});
async function load(keep) {
  const found = await ask('queue');
  if (!found) return;
  if (learn(found) && keep) say(ORDERED);
  // What was gone through stays where it is; what comes after it is in the order of now.
  const at = keep && file ? files.findIndex(one => one.id === file.id) + 1 : 0;
  const kept = new Set(files.slice(0, at).map(one => one.id));
  const of = new Map(found.items.map(one => [one.id, one]));
  files = [...[...kept].map(id => of.get(id)), ...found.items.filter(one => !kept.has(one.id))];
  if (!keep || !file) {
    draw();  // the others can be chosen where the first cannot be read
    if (files.length) await open(files[0].id);
    return;
  }
  await again();
}
window.addEventListener('focus', () => { if (!drag) then(() => load(true)); });
load().then(news);
"""
)
