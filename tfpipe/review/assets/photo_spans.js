// The review page of photos, second part: spans are drawn, moved and decided about.

const MIN_DRAG_PX = 2;  // less is a click
const SPAN_ACTIONS = {
  Enter: 'accept', x: 'delete', Delete: 'delete', d: 'dubious',
};
const KEYS = {
  ArrowDown: () => stepSpan(1),
  ArrowUp: () => stepSpan(-1),
  ArrowRight: () => stepPhoto(1),
  ArrowLeft: () => stepPhoto(-1),
  a: acceptAll,
  n: () => decide('accept', 'whole'),
  u: () => enqueue(undo),
  r: () => enqueue(() => load(true)),
};

function isBusy() { return !!drag; }

function selectSpan(name) {
  currentSpan = name;
  draw();
  const element = findSpanElement(name);
  if (element) element.scrollIntoView({block: 'center'});
}

async function openPhoto(id) {
  const name = (photos.find(entry => entry.id === id) || {}).key;
  const waiting = 'Opening ' + name + ' ...';
  showMessage(waiting);
  const opened = await request('file/' + id);
  if (message.textContent === waiting) showMessage('');
  if (!opened) return;
  photo = opened;
  fitImage();
  const first = openSpans()[0] || photo.spans[0];
  currentSpan = first ? first.what : '';
  if (currentSpan) {
    selectSpan(currentSpan);
  } else {
    draw();
    window.scrollTo(0, 0);
  }
}

function fitImage() {
  zoom = CORE_WIDTH_PX / photo.width;
  coreImage.width = CORE_WIDTH_PX;
  coreImage.height = heightPx();
  core.style.width = CORE_WIDTH_PX + 'px';
  core.style.height = heightPx() + 'px';
  coreImage.src = 'file/' + photo.id + '/image';
}

async function refreshPhoto() {
  const current = await request('file/' + photo.id);
  if (!current || current.id !== photo.id) return;
  photo = current;
  draw();
}

async function applyChanges(changes) {
  for (const change of changes) updateEntry(change.id, change);
  if (photo && changes.some(change => change.id === photo.id)) await refreshPhoto();
  else draw();
}

function updateEntry(id, values) {
  Object.assign(photos.find(entry => entry.id === id) || {}, values);
}

function decide(action, name = '', label = '', depths_m = [0, 0]) {
  const id = photo.id;
  return enqueue(async () => {
    const decision = {who: reviewer.value, id, action, what: name, label, depths_m};
    const changed = await request('decide', decision);
    if (changed) showDecision(decision, changed);
    draw();  // without an answer, every span goes back to its place
    return changed;
  });
}

function showDecision({id, action, what}, changed) {
  if (action === 'draw') {
    const earlier = new Set(photo.spans.map(span => span.what));
    const drawn = changed.spans.find(span => !earlier.has(span.what));
    if (drawn) currentSpan = drawn.what;
  }
  const decided = changed.spans.filter(span => span.state !== 'predicted').length;
  updateEntry(id, {whole: changed.whole.state, decided});
  if (photo.id === id) photo = changed;
  decidedHere.add(what || currentSpan);
  showMessage('Saved in ' + settings.file + ': ' + action + ' ' + what +
              (changed.other ? '. ' + changed.other : ''));
}

async function undo() {
  const undone = await request('undo', {who: reviewer.value});
  if (!undone) return;
  for (const entry of undone.items) updateEntry(entry.id, entry);
  decidedHere.delete(undone.what);
  const entry = photos.find(candidate => candidate.key === undone.file);
  if (entry) await openPhoto(entry.id);
  if (findSpan(undone.what)) selectSpan(undone.what);
  showMessage('Undone: ' + undone.what + ' of ' + undone.file);
}

function neighbour(list, index, steps) {
  return list[Math.max(0, Math.min(list.length - 1, index + steps))];
}

function stepSpan(steps) {
  if (!photo.spans.length) return;
  const index = photo.spans.findIndex(span => span.what === currentSpan);
  selectSpan(neighbour(photo.spans, index, steps).what);
}

function stepPhoto(steps) {
  const index = photos.findIndex(entry => entry.id === photo.id);
  openPhoto(neighbour(photos, index, steps).id);
}

async function acceptAll() {
  for (const span of openSpans()) {
    if (!await decide('accept', span.what)) return;
  }
}

// Moves all open spans of the table, for a photo whose table could not be aligned.
async function moveTabled(shift_m) {
  for (const span of openSpans().filter(candidate => originOf(candidate) === 'tabled')) {
    const depths_m = [span.top_m + shift_m, span.bottom_m + shift_m];
    if (!await decide('move', span.what, '', depths_m)) return;
  }
}

function startDrag(event) {
  if (!photo || event.button) return;
  core.setPointerCapture(event.pointerId);
  const element = event.target.closest('.span');
  drag = element ? dragOfSpan(event, element.dataset.name) : dragOfNewSpan(event);
  event.preventDefault();
}

function dragOfSpan(event, name) {
  const edge = event.target.tagName === 'I' ? event.target.className : 'both';
  const span = findSpan(name);
  currentSpan = name;
  draw();  // not selectSpan: scrolling would move the photo under the mouse
  return {span, edge, startY: mouseY(event), top_m: span.top_m, bottom_m: span.bottom_m,
          movesAll: event.shiftKey, element: findSpanElement(name)};
}

function dragOfNewSpan(event) {
  const element = createElement('div', {className: 'span drawing'}, createElement('span', {}));
  const startY = mouseY(event);
  core.append(element);
  return {startY, element, top_m: depthAt(startY), bottom_m: depthAt(startY)};
}

function continueDrag(event) {
  if (!photo) return;
  const y = mouseY(event);
  depthLabel.hidden = false;
  depthLabel.style.top = y + 'px';
  depthLabel.textContent = depthAt(y).toFixed(4) + ' m';
  if (!drag) return;
  moveEdges(y);
  place(drag.element, drag.top_m, drag.bottom_m);
  drag.element.querySelector('span').textContent = drag.top_m.toFixed(4) + ' to ' +
    drag.bottom_m.toFixed(4) + ' m, ' + inMillimetres(drag.bottom_m - drag.top_m);
}

function moveEdges(y) {
  if (drag.span) {
    const shift_m = depthAt(y) - depthAt(drag.startY);
    drag.top_m = drag.span.top_m + (drag.edge === 'bottom' ? 0 : shift_m);
    drag.bottom_m = drag.span.bottom_m + (drag.edge === 'top' ? 0 : shift_m);
  } else {
    drag.top_m = depthAt(Math.min(drag.startY, y));
    drag.bottom_m = depthAt(Math.max(drag.startY, y));
  }
}

function endDrag(event) {
  if (!drag) return;
  const {span, startY, movesAll, top_m, bottom_m} = drag;
  const y = mouseY(event);
  drag = null;
  if (Math.abs(y - startY) < MIN_DRAG_PX) draw();
  else if (movesAll) moveTabled(depthAt(y) - depthAt(startY));
  else if (span) decide('move', span.what, '', [top_m, bottom_m]);
  else decide('draw', '', '', [top_m, bottom_m]);
}

function handleKey(event) {
  if (isTyping(event) || !photo || drag) return;
  const index = '123456789'.indexOf(event.key);
  if (KEYS[event.key]) KEYS[event.key]();
  else if (!photo.spans.length && event.key === 'd') decide('dubious', 'whole');
  else if (!currentSpan) return;
  else if (index >= 0 && index < settings.labels.length) {
    decide('label', currentSpan, settings.labels[index]);
  } else if (SPAN_ACTIONS[event.key]) decide(SPAN_ACTIONS[event.key], currentSpan);
  else return;
  event.preventDefault();
}

// Reads the queue. With keepPlace, the photos up to this one stay; only later ones are reordered.
async function load(keepPlace) {
  const queue = await request('queue');
  if (!queue) return;
  if (readState(queue) && keepPlace) showMessage(REORDERED);
  const staysOpen = keepPlace && photo;
  const fixedCount = staysOpen ? photos.findIndex(entry => entry.id === photo.id) + 1 : 0;
  const fixed = new Set(photos.slice(0, fixedCount).map(entry => entry.id));
  const byId = new Map(queue.items.map(entry => [entry.id, entry]));
  photos = [...[...fixed].map(id => byId.get(id)),
            ...queue.items.filter(entry => !fixed.has(entry.id))];
  if (staysOpen) {
    await refreshPhoto();
    return;
  }
  draw();  // the other photos can be chosen where the first one cannot be read
  if (photos.length) await openPhoto(photos[0].id);
}

core.addEventListener('pointerdown', startDrag);
core.addEventListener('pointermove', continueDrag);
core.addEventListener('pointerup', endDrag);
core.addEventListener('pointercancel', () => { drag = null; draw(); });
core.addEventListener('pointerleave', () => { depthLabel.hidden = true; });
document.addEventListener('keydown', handleKey);
window.addEventListener('focus', () => { if (!drag) enqueue(() => load(true)); });
enqueue(() => load()).then(poll);  // before one that the window's focus asks for
