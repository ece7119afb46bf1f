"""What moves in the page of pictures: a grid that is labelled from the keyboard."""

from tfpipe.page import Html

KEYS = Html(
    "<kbd>1</kbd>\N{EN DASH}<kbd>9</kbd> choose the class, <kbd>Enter</kbd> accepts that in bold, "
    "<kbd>d</kbd> dubious, <kbd>u</kbd> undo, arrows move, <kbd>r</kbd> looks for what others have "
    "decided. States: grey predicted, orange dubious, green validated."
)
MARKUP = Html(
    '<p class="row"><select id="shown"><option value="open">undecided</option>'
    '<option value="suspected">suspected labels</option><option value="uncertain">least certain'
    '</option><option value="new">newest</option><option value="all">all</option></select>'
    '<select id="choice" title="class of the picture outlined"></select>'
    '<button id="before">back</button><span id="place"></span><button id="after">on</button></p>'
    '<div class="grid" id="grid"></div>'
)
SCRIPT = """
const PAGE = 24;
const grid = document.getElementById('grid'), shown = document.getElementById('shown');
const choice = document.getElementById('choice');
let items = [], listed = [], begin = 0, current = 0;
const pictures = {};

told.labels.forEach((label, i) => choice.append(
  element('option', {value: label, textContent: (i < 9 ? (i + 1) + '  ' : '') + label})));

function pick() {
  const wanted = shown.value;
  listed = items.filter(one => wanted === 'all' ||
    (wanted === 'open' ? one.state === 'predicted' : one.reason === wanted)).map(one => one.id);
  begin = current = 0;
}
function here() { return listed.slice(begin, begin + PAGE); }
function item(id) { return items.find(one => one.id === id); }

async function draw() {
  const ids = here();
  const done = items.filter(one => one.state !== 'predicted').length;
  document.getElementById('count').textContent =
    done + ' of ' + items.length + ' decided';
  document.getElementById('place').textContent = listed.length ?
    (begin + 1) + ' to ' + (begin + ids.length) + ' of ' + listed.length : 'none';
  grid.replaceChildren(...ids.map((id, i) => {
    const one = item(id);
    const own = element('figure', {id: 'item-' + id, className: one.state},
      element('img', {alt: one.key, src: pictures[id] || 'data:,'}),
      element('b', {textContent: one.label}),
      document.createTextNode(' ' + one.state + (one.who ? ' by ' + one.who : '')),
      element('br', {}), document.createTextNode('source: ' + (one.source || 'unlabelled')),
      element('br', {}), document.createTextNode('model: ' + one.said + ' ' + one.likely),
      element('br', {}), element('span', {className: 'soft', textContent: one.why}),
      element('br', {}), element('span', {className: 'soft',
        textContent: one.key + ', ' + one.split}));
    own.setAttribute('aria-current', i === current);
    own.addEventListener('click', () => { current = i; draw(); });
    return own;
  }));
  if (ids.length) choice.value = item(ids[current]).label;
  const lacking = ids.filter(id => !(id in pictures));
  if (!lacking.length) return;
  lacking.forEach(id => pictures[id] = '');
  const found = await ask('pictures?ids=' + lacking.join());
  for (const id of lacking) {
    if (!found) { delete pictures[id]; continue; }
    pictures[id] = found[id];
    const own = document.querySelector('#item-' + id + ' img');
    if (own) own.src = found[id];
  }
}
function move(by) {
  const last = here().length - 1;
  if (current + by > last && begin + PAGE < listed.length) { begin += PAGE; current = 0; }
  else if (current + by < 0 && begin) { begin -= PAGE; current = PAGE - 1; }
  else current = Math.max(0, Math.min(last, current + by));
  draw();
  const own = grid.children[current];
  if (own) own.scrollIntoView({block: 'nearest'});
}
function decide(action, label) {
  const id = here()[current];
  if (id === undefined) return;
  move(1);  // the next is looked at while this one is saved
  then(async () => {
    const chosen = label || item(id).label;
    const found = await ask('decide', {who: name.value, id, action, label: chosen});
    if (!found) { draw(); return; }
    items[items.findIndex(one => one.id === id)] = found;
    say(found.key + ': ' + found.state + ' as ' + found.label + ', saved in ' + told.file);
    draw();
  });
}
function undo() {
  then(async () => {
    const found = await ask('undo', {who: name.value});
    if (!found) return;
    items = found.items;
    const one = items.find(each => each.key === found.what);
    say('Undone: ' + found.what + (one ? ' is ' + one.state + ' again' : ''));
    const at = one ? here().indexOf(one.id) : -1;
    if (at >= 0) current = at;
    draw();
  });
}
async function load(keep) {
  const found = await ask('queue');
  if (!found) return;
  items = found.items;
  if (!keep) pick();
  await draw();
}
function columns() {
  const tops = [...grid.children].map(one => one.offsetTop);
  return Math.max(1, tops.filter(top => top === tops[0]).length);
}
document.addEventListener('keydown', event => {
  if (typing(event)) return;
  const number = '123456789'.indexOf(event.key);
  const keys = {ArrowRight: () => move(1), ArrowLeft: () => move(-1),
    ArrowDown: () => move(columns()), ArrowUp: () => move(-columns()),
    Enter: () => decide('accept'), d: () => decide('dubious'), u: undo,
    r: () => load(true)};
  if (number >= 0 && number < told.labels.length) decide('label', told.labels[number]);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});
choice.addEventListener('change', () => { decide('label', choice.value); choice.blur(); });
shown.addEventListener('change', () => { pick(); draw(); shown.blur(); });
document.getElementById('before').addEventListener('click', () => { current = 0; move(-1); });
document.getElementById('after').addEventListener('click', () => { current = PAGE; move(1); });
window.addEventListener('focus', () => load(true));
load();
"""
