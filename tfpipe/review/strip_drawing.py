"""How a photo with its spans is drawn in the page of files: depths, ticks, spans, lists."""

DRAWING = """
const core = document.getElementById('core'), ice = document.getElementById('ice');
const depth = document.getElementById('depth');
const WHOLE = {validated: 'nothing else is here', dubious: 'dubious as a whole'};
let files = [], file = null, current = '', drag = null, zoom = 1.5;

function metres(y) { return file.top_m + y / (file.height * zoom) * (file.bottom_m - file.top_m); }
function pixels(m) {
  return (m - file.top_m) / (file.bottom_m - file.top_m) * file.height * zoom;
}
function under(event) {
  const y = event.clientY - core.getBoundingClientRect().top;
  return Math.max(0, Math.min(file.height * zoom, y));
}
function put(own, top_m, bottom_m) {
  own.style.top = pixels(top_m) + 'px';
  own.style.height = Math.max(pixels(bottom_m) - pixels(top_m), 1) + 'px';
}
function words(one) {
  const likely = one.probability === null ? '' : ' ' + one.probability.toFixed(2);
  return one.top_m.toFixed(4) + ' m, ' + (1000 * (one.bottom_m - one.top_m)).toFixed(1) + ' mm, ' +
    (one.label || 'none') + likely + (one.who ? ', ' + one.state + ' by ' + one.who : '');
}
function busy() { return !!drag; }
async function changed(found) {
  for (const one of found) Object.assign(files.find(each => each.id === one.id) || {}, one);
  if (file && found.some(one => one.id === file.id)) await again();
  else draw();
}
async function again() {
  const found = await ask('file/' + file.id);
  if (found && found.id === file.id) { file = found; draw(); }
}
function ticks() {  // a line of depth wherever there is room for one
  const room = 60 / (file.height * zoom) * (file.bottom_m - file.top_m);
  const step = [.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2, 5].find(m => m >= room) || 10;
  const found = [];
  for (let i = Math.ceil(file.top_m / step); i * step < file.bottom_m; i++) {
    const own = element('div', {className: 'tick', textContent: (i * step).toFixed(3) + ' m'});
    own.style.top = pixels(i * step) + 'px';
    found.push(own);
  }
  return found;
}
function origin(one) { return one.what.split(' ')[0]; }

function draw() {
  core.querySelectorAll('.span, .found, .tick').forEach(one => one.remove());
  document.getElementById('files').replaceChildren(...files.map(one => {
    const own = element('li', {textContent: one.key}, element('br', {}), element('span',
      {className: 'soft', textContent: one.decided + ' decided' +
        (WHOLE[one.whole] ? ', ' + WHOLE[one.whole] : '') + (one.why ? '; ' + one.why : '')}));
    own.classList.add(one.whole);
    own.setAttribute('aria-current', !!file && one.id === file.id);
    own.addEventListener('click', () => open(one.id));
    return own;
  }));
  if (!file) return;
  document.getElementById('says').textContent = file.says;
  document.getElementById('count').textContent = file.key + ': ' +
    (file.spans.length ? file.spans.filter(one => one.state === 'predicted').length +
     ' open of ' + file.spans.length : 'no layer in the table or found') +
    (WHOLE[file.whole.state] ? '; ' + WHOLE[file.whole.state] + ', by ' + file.whole.who : '');
  core.append(...ticks());
  for (const one of file.found) {
    const own = element('div', {className: 'found', title: 'found: ' + words(one)});
    put(own, one.top_m, one.bottom_m);
    core.append(own);
  }
  file.spans.forEach((one, i) => {
    const own = element('div', {id: 'span-' + i,
      className: 'span ' + one.state + ' ' + origin(one) + (one.label ? '' : ' none')},
      element('i', {className: 'top'}), element('i', {className: 'bottom'}),
      element('span', {textContent: words(one)}));
    own.dataset.what = one.what;
    own.setAttribute('aria-current', one.what === current);
    put(own, one.top_m, one.bottom_m);
    core.append(own);
  });
  document.getElementById('list').replaceChildren(...file.spans.map(one => {
    const own = element('li', {textContent: words(one), className: one.state});
    own.setAttribute('aria-current', one.what === current);
    own.addEventListener('click', () => choose(one.what));
    return own;
  }));
}
"""
