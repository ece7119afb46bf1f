"""What moves in the page of pictures: a grid that is labelled from the keyboard."""

from tfpipe.base.html import Html

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
    '<button id="before">previous</button><span id="place"></span>'
    '<button id="after">next</button></p><div class="grid" id="grid"></div>'
)
SCRIPT = """
const PAGE = 24;
const grid = document.getElementById('grid'), shown = document.getElementById('shown');
const choice = document.getElementById('choice');
let items = new Map(), listed = [], begin = 0, current = 0;  // id -> picture, the first first
const pictures = {};

told.labels.forEach((label, i) => choice.append(
  element('option', {value: label, textContent: (i < 9 ? (i + 1) + '  ' : '') + label})));

function wanted() {
  return [...items.values()].filter(one => shown.value === 'all' ||
    (shown.value === 'open' ? one.state === 'predicted' : one.reason === shown.value))
    .map(one => one.id);
}
function pick() {
  listed = wanted();
  begin = current = 0;
}
function here() { return listed.slice(begin, begin + PAGE); }
function item(id) { return items.get(id); }
function busy() { return false; }
function changed(found) {
  for (const one of found) if (items.has(one.id)) items.set(one.id, one);
  return draw();
}

async function draw() {
  const ids = here();
  const done = [...items.values()].filter(one => one.state !== 'predicted').length;
  document.getElementById('count').textContent = done + ' of ' + items.size + ' decided';
  document.getElementById('place').textContent = listed.length ?
    (begin + 1) + ' to ' + (begin + ids.length) + ' of ' + listed.length : 'none';
  grid.replaceChildren(...ids.map((id, i) => {
    const one = item(id);
    const own = element('figure', {id: 'item-' + id, className: one.state},
      element('img', {alt: one.key, src: pictures[id] || 'data:,'}),
      element('b', {textContent: one.label || 'no class yet'}),
      document.createTextNode(' ' + one.state + (one.who ? ' by ' + one.who : '')),
      element('br', {}), document.createTextNode('source: ' + (one.source || 'unlabelled')),
      element('br', {}), document.createTextNode(
        'model: ' + (one.said ? one.said + ' ' + one.likely.toFixed(2) : 'not asked yet')),
      element('br', {}), element('span', {className: 'soft', textContent: one.why}),
      element('span', {className: 'soft key', title: one.key},
        element('bdi', {textContent: one.key})),
      element('span', {className: 'soft', textContent: one.split}));
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
    if (!chosen) { say('No class holds of this one yet: choose one by its number.', true); return; }
    const found = await ask('decide', {who: name.value, id, action, label: chosen});
    if (!found) { draw(); return; }
    items.set(id, found);
    mine.add(found.key);
    say(found.key + ': ' + found.state + ' as ' + found.label + ', saved in ' + told.file +
        (found.over ? '. ' + found.over : ''));
    draw();
  });
}
function undo() {
  then(async () => {
    const found = await ask('undo', {who: name.value});
    if (!found) return;
    for (const each of found.items) if (items.has(each.id)) items.set(each.id, each);
    const one = found.items.find(each => each.key === found.what);
    mine.delete(found.what);
    say('Undone: ' + found.what + (one ? ' is ' + one.state + ' again' : ''));
    const at = one ? here().indexOf(one.id) : -1;
    if (at >= 0) current = at;
    draw();
  });
}
async function load(keep) {
  const found = await ask('queue');
  if (!found) return;
  if (learn(found) && keep) say(ORDERED);
  // What was gone through stays where it is; what comes after it is in the order of now.
  const kept = keep ? listed.slice(0, begin + PAGE) : [], before = items;
  items = new Map(found.items.map(one => [one.id, one]));
  for (const id of kept) if (!items.has(id)) items.set(id, before.get(id));
  if (keep) listed = [...new Set([...kept, ...wanted()])];
  else pick();
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
    r: () => then(() => load(true))};
  if (number >= 0 && number < told.labels.length) decide('label', told.labels[number]);
  else if (keys[event.key]) keys[event.key]();
  else return;
  event.preventDefault();
});
choice.addEventListener('change', () => { decide('label', choice.value); choice.blur(); });
shown.addEventListener('change', () => { pick(); draw(); shown.blur(); });
document.getElementById('before').addEventListener('click', () => { current = 0; move(-1); });
document.getElementById('after').addEventListener('click', () => { current = PAGE; move(1); });
window.addEventListener('focus', () => then(() => load(true)));
load().then(news);
"""
