// The review page of images: a grid that is labelled from the keyboard.

const PER_PAGE = 24;
const grid = document.getElementById('grid');
const filter = document.getElementById('filter');
const classMenu = document.getElementById('class-menu');
const thumbnails = {};  // id -> address; '' while it is loaded

let items = new Map();  // id -> image, in the order of the queue
let listed = [];  // ids that pass the filter
let pageStart = 0;  // of `listed`
let current = 0;  // within the page

function isBusy() { return false; }

function passesFilter(item) {
  if (filter.value === 'all') return true;
  if (filter.value === 'open') return item.state === 'predicted';
  return item.reason === filter.value;
}

function filteredIds() {
  return [...items.values()].filter(passesFilter).map(item => item.id);
}

function applyFilter() {
  listed = filteredIds();
  pageStart = current = 0;
}

function pageIds() { return listed.slice(pageStart, pageStart + PER_PAGE); }

function applyChanges(changes) {
  for (const item of changes) if (items.has(item.id)) items.set(item.id, item);
  return draw();
}

function captionOf(item) {
  if (settings.blind) return blindCaptionOf(item);
  const prediction = item.predicted ? item.predicted + ' ' + item.probability.toFixed(2) : 'not predicted yet';
  return [
    createElement('b', {textContent: item.label || 'no class yet'}),
    ' ' + item.state + (item.who ? ' by ' + item.who : ''),
    createElement('br', {}),
    'source: ' + (item.source || 'unlabelled'),
    createElement('br', {}),
    'model: ' + prediction,
    createElement('br', {}),
    createElement('span', {className: 'soft', textContent: item.why}),
    createElement('span', {className: 'soft key', title: item.key},
                  createElement('bdi', {textContent: item.key})),
    createElement('span', {className: 'soft', textContent: item.split}),
  ];
}

function blindCaptionOf(item) {
  return [
    createElement('b', {textContent: item.label || 'no answer yet'}),
    createElement('span', {className: 'soft key', textContent: 'image ' + item.key}),
  ];
}

function createFigure(item, index) {
  const image = createElement('img', {alt: item.key, src: thumbnails[item.id] || 'data:,'});
  const properties = {id: 'item-' + item.id, className: item.state};
  const figure = createElement('figure', properties, image, ...captionOf(item));
  figure.setAttribute('aria-current', index === current);
  figure.addEventListener('click', () => { current = index; draw(); });
  return figure;
}

function drawCounts(ids) {
  const decided = [...items.values()].filter(item => item.state !== 'predicted').length;
  document.getElementById('count').textContent = decided + ' of ' + items.size + ' decided';
  document.getElementById('range').textContent = listed.length ?
    (pageStart + 1) + ' to ' + (pageStart + ids.length) + ' of ' + listed.length : 'none';
}

async function draw() {
  const ids = pageIds();
  drawCounts(ids);
  grid.replaceChildren(...ids.map((id, index) => createFigure(items.get(id), index)));
  if (ids.length) classMenu.value = items.get(ids[current]).label;
  await loadThumbnails(ids.filter(id => !(id in thumbnails)));
}

async function loadThumbnails(ids) {
  if (!ids.length) return;
  ids.forEach(id => thumbnails[id] = '');
  const addresses = await request('thumbnails?ids=' + ids.join());
  for (const id of ids) {
    if (!addresses) { delete thumbnails[id]; continue; }  // so that the next drawing tries again
    thumbnails[id] = addresses[id];
    const image = document.querySelector('#item-' + id + ' img');
    if (image) image.src = addresses[id];
  }
}

function move(steps) {
  const last = pageIds().length - 1;
  if (current + steps > last && pageStart + PER_PAGE < listed.length) {
    pageStart += PER_PAGE;
    current = 0;
  } else if (current + steps < 0 && pageStart) {
    pageStart -= PER_PAGE;
    current = PER_PAGE - 1;
  } else {
    current = Math.max(0, Math.min(last, current + steps));
  }
  draw();
  const figure = grid.children[current];
  if (figure) figure.scrollIntoView({block: 'nearest'});
}

function decide(action, label) {
  const id = pageIds()[current];
  if (id === undefined) return;
  move(1);  // the reviewer goes on while this decision is saved
  enqueue(() => saveDecision(id, action, label));
}

async function saveDecision(id, action, chosenLabel) {
  const label = chosenLabel || items.get(id).label;
  if (!label) {
    showMessage('This image has no class yet: choose one by its number.', true);
    return;
  }
  const item = await request('decide', {who: reviewer.value, id, action, label});
  if (item) {
    items.set(id, item);
    decidedHere.add(item.key);
    showMessage(item.key + ': ' + item.state + ' as ' + item.label + ', saved in ' +
                settings.file + (item.other ? '. ' + item.other : ''));
  }
  draw();
}

async function undo() {
  const undone = await request('undo', {who: reviewer.value});
  if (!undone) return;
  for (const item of undone.items) if (items.has(item.id)) items.set(item.id, item);
  decidedHere.delete(undone.what);
  const item = undone.items.find(candidate => candidate.key === undone.what);
  showMessage('Undone: ' + undone.what + (item ? ' is ' + item.state + ' again' : ''));
  const index = item ? pageIds().indexOf(item.id) : -1;
  if (index >= 0) current = index;
  draw();
}

// Reads the queue. With keepPlace, the images up to this page stay; only later ones are reordered.
async function load(keepPlace) {
  const queue = await request('queue');
  if (!queue) return;
  if (readState(queue) && keepPlace) showMessage(REORDERED);
  const fixed = keepPlace ? listed.slice(0, pageStart + PER_PAGE) : [];
  const previous = items;
  items = new Map(queue.items.map(item => [item.id, item]));
  for (const id of fixed) if (!items.has(id)) items.set(id, previous.get(id));
  if (keepPlace) listed = [...new Set([...fixed, ...filteredIds()])];
  else applyFilter();
  await draw();
}

function columnCount() {
  const tops = [...grid.children].map(figure => figure.offsetTop);
  return Math.max(1, tops.filter(top => top === tops[0]).length);
}

function turnPage(direction) {
  current = direction > 0 ? PER_PAGE : 0;
  move(direction);
}

const KEYS = {
  ArrowRight: () => move(1),
  ArrowLeft: () => move(-1),
  ArrowDown: () => move(columnCount()),
  ArrowUp: () => move(-columnCount()),
  Enter: () => decide('accept'),
  d: () => decide('dubious'),
  u: () => enqueue(undo),
  r: () => enqueue(() => load(true)),
};

if (settings.blind) {  // there is no class to accept
  delete KEYS.Enter;
  delete KEYS.d;
  KEYS.x = () => decide('label', settings.labels.at(-1));
}

function handleKey(event) {
  if (isTyping(event)) return;
  const index = '123456789'.indexOf(event.key);
  if (index >= 0 && index < settings.labels.length) decide('label', settings.labels[index]);
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
}

settings.labels.forEach((label, i) => {
  const shortcut = i < SHORTCUTS ? (i + 1) + '  ' : '';
  classMenu.append(createElement('option', {value: label, textContent: shortcut + label}));
});
classMenu.addEventListener('change', () => { decide('label', classMenu.value); classMenu.blur(); });
filter.addEventListener('change', () => { applyFilter(); draw(); filter.blur(); });
document.getElementById('previous').addEventListener('click', () => turnPage(-1));
document.getElementById('next').addEventListener('click', () => turnPage(1));
document.addEventListener('keydown', handleKey);
window.addEventListener('focus', () => enqueue(() => load(true)));
enqueue(() => load()).then(poll);  // before one that the window's focus asks for
