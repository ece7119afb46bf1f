// The map of an exploration: points are coloured by a column, and the one under the mouse is shown.
// The wheel zooms, dragging moves, and a lasso around points makes a list of labels.

const data = JSON.parse(document.getElementById('page-data').textContent);
const element = name => document.getElementById(name);
const map = element('map'), colourMenu = element('colour'), legend = element('legend');
const thumbnail = element('thumbnail'), caption = element('caption');
const context = map.getContext('2d');
const COUNT = data.x.length, MARGIN_PX = 16, NEAR_PX = 12;
const SIZE_PX = Math.max(2, 7.5 - 1.1 * Math.log10(Math.max(COUNT, 1)));
const VIRIDIS = ['#440154', '#482878', '#3e4a89', '#31688e', '#26828e', '#1f9e89', '#35b779',
  '#6ece58', '#b5de2b', '#fde725'];
const MISSING = '#c3ccd2';
const HEADING = 'time,who,file,what,top_m,bottom_m,label,version,state,action';

let transform = d3.zoomIdentity;
let batches = [];  // {name, colour, rows, isHidden} of the column, in the order of drawing
let index = null;  // of the points that are not hidden, made when the mouse first needs it
let lasso = [];  // corners in px of the map
let selected = [];  // rows
let isLasso = false, isWaiting = false, fit = null;

function range(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) {
    if (value !== null && value < low) low = value;
    if (value !== null && value > high) high = value;
  }
  return [low, high];
}

const [LEFT, RIGHT] = range(data.x), [BOTTOM, TOP] = range(data.y);

// The map's px of a point before zooming; one scale for both directions.
function fitted() {
  const width = map.clientWidth, height = map.clientHeight;
  const scale = Math.min((width - 2 * MARGIN_PX) / (RIGHT - LEFT || 1),
    (height - 2 * MARGIN_PX) / (TOP - BOTTOM || 1));
  return {scale, x: width / 2 - scale * (LEFT + RIGHT) / 2, y: height / 2 + scale * (BOTTOM + TOP) / 2};
}

function placeOf(row) {
  return transform.apply([fit.x + fit.scale * data.x[row], fit.y - fit.scale * data.y[row]]);
}

function numericBatches(column) {
  const [low, high] = range(column.values), last = VIRIDIS.length - 1;
  const rows = VIRIDIS.map(() => []), missing = [];
  column.values.forEach((value, row) => {
    const share = (value - low) / (high - low || 1);
    (value === null ? missing : rows[Math.round(last * share)]).push(row);
  });
  const named = rows.map((some, i) => ({
    name: (low + (high - low) * i / last).toPrecision(3), colour: VIRIDIS[i], rows: some,
  }));
  return [{name: 'missing', colour: MISSING, rows: missing}, ...named];
}

function categoryBatches(column) {
  const made = column.categories.map((name, i) => ({name, colour: column.colours[i], rows: []}));
  column.values.forEach((value, row) => made[value].rows.push(row));
  return made.sort((a, b) => (b.colour === MISSING) - (a.colour === MISSING));
}

function draw() {
  const ratio = window.devicePixelRatio || 1;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, map.clientWidth, map.clientHeight);
  const {k, x: moveX, y: moveY} = transform;
  const size = Math.min(9, SIZE_PX * Math.sqrt(Math.max(1, k))), half = size / 2;
  const scaleX = k * fit.scale, offsetX = k * fit.x + moveX - half;
  const offsetY = k * fit.y + moveY - half;
  context.globalAlpha = 0.8;
  for (const {colour, rows, isHidden} of batches) {
    if (isHidden) continue;
    context.fillStyle = colour;
    for (const row of rows) {
      context.fillRect(offsetX + scaleX * data.x[row], offsetY - scaleX * data.y[row], size, size);
    }
  }
  context.globalAlpha = 1;
  const ink = getComputedStyle(map).color;
  context.strokeStyle = ink;
  for (const row of selected) {
    const [x, y] = placeOf(row);
    context.strokeRect(x - half - 1, y - half - 1, size + 2, size + 2);
  }
  if (lasso.length > 1) {
    context.setLineDash([5, 4]);
    context.beginPath();
    lasso.forEach(([x, y]) => context.lineTo(x, y));
    context.closePath();
    context.stroke();
    context.setLineDash([]);
  }
}

function redraw() {
  if (isWaiting) return;
  isWaiting = true;
  requestAnimationFrame(() => { isWaiting = false; draw(); });
}

function resize() {
  const ratio = window.devicePixelRatio || 1;
  map.width = map.clientWidth * ratio;
  map.height = map.clientHeight * ratio;
  fit = fitted();
  redraw();
}

function showLegend() {
  legend.replaceChildren(...batches.filter(one => one.rows.length).map(one => {
    const button = document.createElement('button'), patch = document.createElement('span');
    patch.style.background = one.colour;
    button.append(patch, `${one.name} (${one.rows.length.toLocaleString('en')})`);
    button.setAttribute('aria-pressed', !one.isHidden);
    button.addEventListener('click', () => {
      one.isHidden = !one.isHidden;
      button.setAttribute('aria-pressed', !one.isHidden);
      index = null;
      redraw();
    });
    return button;
  }));
}

function colourBy() {
  const column = data.columns[colourMenu.selectedIndex];
  batches = column.categories === null ? numericBatches(column) : categoryBatches(column);
  index = null;
  showLegend();
  redraw();
}

function shownRows() {
  return batches.filter(one => !one.isHidden).flatMap(one => one.rows);
}

function nearest(event) {
  index = index || d3.quadtree(shownRows(), row => data.x[row], row => data.y[row]);
  const [x, y] = transform.invert([event.offsetX, event.offsetY]);
  const scale = fit.scale, near = NEAR_PX / transform.k / scale;
  return index.find((x - fit.x) / scale, (fit.y - y) / scale, near);
}

function showPoint(row) {
  const image = data.thumbnails[row];
  thumbnail.hidden = !image;
  if (image) thumbnail.src = 'data:image/jpeg;base64,' + image;
  caption.textContent = data.captions[row] + (image ? '' : ' (its image is not in this page)');
}

function select(rows) {
  selected = rows;
  element('selection').hidden = !rows.length;
  element('count').textContent = rows.length.toLocaleString('en');
  const names = rows.slice(0, 100).map(row => data.captions[row]);
  element('keys').replaceChildren(...names.map(name => {
    const item = document.createElement('li');
    item.textContent = name;
    return item;
  }));
  redraw();
}

function endLasso() {
  const polygon = lasso;
  lasso = [];
  select(polygon.length < 3 ? [] : shownRows().filter(row => d3.polygonContains(polygon, placeOf(row))));
}

function cell(text) {
  return /[",]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

// A list of decisions as `tfpipe review` writes them; control characters do not fit in a line.
function labelList(label, who) {
  const time = new Date().toISOString().replace('Z', '+00:00');
  const lines = selected.map(row =>
    [time, cell(who), '', cell(data.keys[row]), '', '', cell(label), 'explore', 'validated', 'label']);
  return [HEADING, ...lines.map(cells => cells.join(','))].join('\n') + '\n';
}

function download() {
  const label = element('label').value.replace(/\p{C}/gu, '').trim();
  if (!label) {
    element('label').focus();
    return;
  }
  const safe = /^[=+@\-\t]/.test(label) ? "'" + label : label;
  const link = document.createElement('a');
  const text = labelList(safe, element('who').value.replace(/\p{C}/gu, '').trim());
  link.href = URL.createObjectURL(new Blob([text], {type: 'text/csv'}));
  link.download = 'labels.csv';
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

function setLasso(isOn) {
  isLasso = isOn;
  element('lasso').setAttribute('aria-pressed', isOn);
  map.style.cursor = isOn ? 'crosshair' : 'grab';
}

const zoom = d3.zoom().scaleExtent([0.5, 500])
  .filter(event => event.type === 'wheel' || !(isLasso || event.shiftKey) && !event.button)
  .on('zoom', event => { transform = event.transform; redraw(); });
d3.select(map).call(zoom).on('dblclick.zoom', null);
map.addEventListener('pointerdown', event => {
  if (!(isLasso || event.shiftKey) || event.button) return;
  map.setPointerCapture(event.pointerId);
  lasso = [[event.offsetX, event.offsetY]];
});
map.addEventListener('pointermove', event => {
  if (lasso.length) {
    lasso.push([event.offsetX, event.offsetY]);
    redraw();
  } else if (!event.buttons) {
    const row = nearest(event);
    if (row !== undefined) showPoint(row);
  }
});
map.addEventListener('pointerup', () => { if (lasso.length) endLasso(); });
map.addEventListener('dblclick', () => d3.select(map).call(zoom.transform, d3.zoomIdentity));
element('whole').addEventListener('click', () => d3.select(map).call(zoom.transform, d3.zoomIdentity));
element('lasso').addEventListener('click', () => setLasso(!isLasso));
element('clear').addEventListener('click', () => select([]));
element('download').addEventListener('click', download);
colourMenu.addEventListener('change', colourBy);
window.addEventListener('resize', resize);
setLasso(false);
resize();
colourBy();
