// The review page of photos, first part: how a photo is drawn with its spans, depths and lists.

const core = document.getElementById('core');
const coreImage = document.getElementById('core-image');
const depthLabel = document.getElementById('depth');
const CORE_WIDTH_PX = 300;
const TICK_DISTANCE_PX = 60;
const TICK_STEPS_M = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5];
const WHOLE_PHOTO = {validated: 'nothing else is here', dubious: 'dubious as a whole'};

let photos = [];  // the queue
let photo = null;  // that is shown
let currentSpan = '';  // its name
let drag = null;  // of the mouse
let zoom = 1.5;  // pixels of the page for a pixel of the photo

function heightPx() { return photo.height * zoom; }

function metresPerPx() { return (photo.bottom_m - photo.top_m) / heightPx(); }

function depthAt(y) { return photo.top_m + y * metresPerPx(); }

function yAt(depth_m) { return (depth_m - photo.top_m) / metresPerPx(); }

function mouseY(event) {
  const y = event.clientY - core.getBoundingClientRect().top;
  return Math.max(0, Math.min(heightPx(), y));
}

function place(element, top_m, bottom_m) {
  element.style.top = yAt(top_m) + 'px';
  element.style.height = Math.max(yAt(bottom_m) - yAt(top_m), 1) + 'px';
}

function inMillimetres(length_m) { return (1000 * length_m).toFixed(1) + ' mm'; }

function describe(span) {
  const probability = span.probability === null ? '' : ' ' + span.probability.toFixed(2);
  const decision = span.who ? ', ' + span.state + ' by ' + span.who : '';
  return span.top_m.toFixed(4) + ' m, ' + inMillimetres(span.bottom_m - span.top_m) + ', ' +
         (span.label || 'none') + probability + decision;
}

// Where a span comes from, which its name begins with: tabled, found or drawn.
function originOf(span) { return span.what.split(' ')[0]; }

function findSpan(name) { return photo.spans.find(span => span.what === name); }

function findSpanElement(name) {
  return [...core.querySelectorAll('.span')].find(element => element.dataset.name === name);
}

function openSpans() { return photo.spans.filter(span => span.state === 'predicted'); }

function draw() {
  core.querySelectorAll('.span, .detection, .tick').forEach(element => element.remove());
  document.getElementById('photos').replaceChildren(...photos.map(createPhotoItem));
  if (!photo) return;
  drawSummary();
  core.append(...createTicks(), ...photo.predicted.map(createDetection),
              ...photo.spans.map(createSpan));
  document.getElementById('spans').replaceChildren(...photo.spans.map(createSpanItem));
}

function createPhotoItem(entry) {
  const whole = WHOLE_PHOTO[entry.whole] ? ', ' + WHOLE_PHOTO[entry.whole] : '';
  const reason = entry.why ? '; ' + entry.why : '';
  const about = {className: 'soft', textContent: entry.decided + ' decided' + whole + reason};
  const item = createElement('li', {textContent: entry.key}, createElement('br', {}),
                             createElement('span', about));
  item.classList.add(entry.whole);
  item.setAttribute('aria-current', !!photo && entry.id === photo.id);
  item.addEventListener('click', () => openPhoto(entry.id));
  return item;
}

function drawSummary() {
  const spans = photo.spans.length ? openSpans().length + ' open of ' + photo.spans.length :
                'no layer in the table or detected';
  const whole = WHOLE_PHOTO[photo.whole.state];
  document.getElementById('photo-note').textContent = photo.note;
  document.getElementById('count').textContent = photo.key + ': ' + spans +
    (whole ? '; ' + whole + ', by ' + photo.whole.who : '');
}

// Lines of depth, as close as their numbers can be read.
function createTicks() {
  const distance_m = TICK_DISTANCE_PX * metresPerPx();
  const step_m = TICK_STEPS_M.find(step => step >= distance_m) || 10;
  const ticks = [];
  for (let i = Math.ceil(photo.top_m / step_m); i * step_m < photo.bottom_m; i++) {
    const text = (i * step_m).toFixed(3) + ' m';
    const tick = createElement('div', {className: 'tick', textContent: text});
    tick.style.top = yAt(i * step_m) + 'px';
    ticks.push(tick);
  }
  return ticks;
}

function createDetection(span) {
  const properties = {className: 'detection', title: 'detected: ' + describe(span)};
  const element = createElement('div', properties);
  place(element, span.top_m, span.bottom_m);
  return element;
}

function createSpan(span, index) {
  const className = 'span ' + span.state + ' ' + originOf(span) + (span.label ? '' : ' none');
  const element = createElement('div', {id: 'span-' + index, className},
                                createElement('i', {className: 'top'}),
                                createElement('i', {className: 'bottom'}),
                                createElement('span', {textContent: describe(span)}));
  element.dataset.name = span.what;
  element.setAttribute('aria-current', span.what === currentSpan);
  place(element, span.top_m, span.bottom_m);
  return element;
}

function createSpanItem(span) {
  const item = createElement('li', {textContent: describe(span), className: span.state});
  item.setAttribute('aria-current', span.what === currentSpan);
  item.addEventListener('click', () => selectSpan(span.what));
  return item;
}
