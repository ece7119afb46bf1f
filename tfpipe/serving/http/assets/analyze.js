// Raw files: what `tfpipe predict` writes for them, with the images, and the table to download.

const PART = /\.(lst|cla|ctx|csv|tsv|xlsx)$/i;  // of a run: its list, classes, settings, tables
const NEW_FILES = 'New: most of this looks like nothing that the model was trained on.';
const MAX_ROWS = 200;  // of a table on the page; the download has all

// Photos one by one, each with the tables beside it; files of other tasks all together.
function showAnalyses(entries, model) {
  const tables = entries.filter(entry => TABLE.test(entry.path));
  const others = entries.filter(entry => !TABLE.test(entry.path));
  if (model.kind === 'photos' && others.length) {
    for (const photo of others) showAnalysis([photo], tables.slice(0, 1), photo.path);
    return;
  }
  // Loose files that belong to each other, such as a list and its collages, are one folder.
  const isFolder = entries.some(entry => entry.path.includes('/'));
  const isRun = !isFolder && entries.length > 1 && entries.some(entry => PART.test(entry.path));
  const sent = isRun ? entries.map(({file, path}) => ({file, path: 'files/' + path})) : entries;
  const first = entries[0].path;
  const title = isFolder ? first.split('/')[0] + '/' : first;
  const rest = isFolder || entries.length === 1 ? '' : ' and ' + (entries.length - 1) + ' more';
  showAnalysis(sent, [], title + rest);
}

async function showAnalysis(entries, tables, title) {
  const article = createElement('article', undefined, 'whole');
  const result = createElement('div');
  result.append(createElement('p', 'sending ...', 'soft'));
  article.append(createElement('h2', title), result);
  byId('results').prepend(article);
  const form = new FormData();
  for (const {file, path} of entries) form.append('file', file, path);
  for (const {file, path} of tables) form.append('table', file, path.split('/').pop());
  try {
    const onProgress = progress => {
      result.replaceChildren(createElement('p', describeProgress(progress), 'soft'));
    };
    const answer = await requestAnalysis(form, onProgress);
    result.replaceChildren(...describeAnalysis(answer, title));
  } catch (error) {
    result.replaceChildren(createElement('p', error.message, 'error'));
  }
}

function describeProgress({state, files, files_done: done, part, images}) {
  if (state === 'waiting') return 'waiting for other requests ...';
  const percent = files ? Math.round(100 * (done + part) / files) + ' % of ' : '';
  const noun = files === 1 ? ' file' : ' files';
  return percent + (files || '?') + noun + ', ' + images.toLocaleString('en') + ' images ...';
}

// The answer in JSON; progress is reported by the server's events before it.
async function requestAnalysis(form, onProgress) {
  const headers = {Accept: 'text/event-stream', ...authorization()};
  const url = modelUrl('analyze') + '?overlay=true';
  const response = await fetch(url, {method: 'POST', headers, body: form});
  if (!response.ok) throw Error((await response.json()).error);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const pieces = [];
  for (;;) {
    const {value, done} = await reader.read();
    if (done) throw Error('The server ended before the answer was complete. Try again.');
    pieces.push(value);
    // The pieces of a long result are joined once, not with each that arrives.
    if (!value.includes('\n\n') && !(value.startsWith('\n') && pieces.length > 1)) continue;
    const events = pieces.join('').split('\n\n');
    pieces.splice(0, pieces.length, events.pop());
    for (const event of events) {
      const [, name, data] = event.match(/^event: (\w+)\ndata: (.*)$/s) || [];
      if (name === 'progress') onProgress(JSON.parse(data));
      if (name === 'error') throw Error(JSON.parse(data).error);
      if (name === 'result') return JSON.parse(data);
    }
  }
}

function describeAnalysis(answer, title) {
  const parts = [createSummary(answer)];
  const {images, new: count} = answer.novelty || {};
  if (count && 2 * count > images) parts.unshift(createElement('p', NEW_FILES, 'new'));
  for (const [file, reason] of Object.entries(answer.skipped)) {
    parts.push(createElement('p', file + ' was skipped: ' + reason, 'error'));
  }
  for (const note of answer.notes) parts.push(createElement('p', note, 'soft'));
  if (answer.rows.length) parts.push(createDownload(answer, title));
  const counts = answer.details.counts;
  if (counts) parts.push(createTable(Object.keys(counts[0]), counts, 'By class'));
  // Whole files before the contact sheets of classes, which are called 00-CLASS, 01-CLASS ...
  const overlays = Object.entries(answer.overlays || {});
  overlays.sort(([a], [b]) => /^\d\d-/.test(a) - /^\d\d-/.test(b));
  for (const [name, {b64}] of overlays) {
    const figure = createElement('figure');
    figure.append(createImage('data:image/png;base64,' + b64, name));
    figure.append(createElement('figcaption', name));
    parts.push(figure);
  }
  if (answer.rows.length) parts.push(...createRows(answer));
  return parts;
}

function createSummary({task, model, version, rows, details}) {
  const summary = createElement('p');
  const count = rows.length.toLocaleString('en');
  summary.append(createElement('b', rows.length === 1 ? '1 row' : count + ' rows'));
  const abstained = details.abstained;
  if (abstained) summary.append(', ' + abstained + ' of them not certain enough (abstain)');
  summary.append(' by ' + task + ', ' + model + ' version ' + version);
  return summary;
}

function createDownload({columns, rows}, title) {
  const link = createElement('a', 'Download the table (CSV)', 'download');
  link.href = URL.createObjectURL(new Blob([toCsv(columns, rows)], {type: 'text/csv'}));
  link.download = title.replace(/[^\w.-]+/g, '_').replace(/\.\w+$/, '') + '.csv';
  const download = createElement('p');
  download.append(link);
  return download;
}

function createRows({columns, rows}) {
  const box = createElement('div', undefined, 'rows');
  const table = createTable(columns, rows.slice(0, MAX_ROWS), '');
  box.append(table);
  [...table.tBodies[0].rows].forEach((line, i) => {
    if (rows[i].new) line.cells[0].append(' ', createElement('b', 'new', 'new'));
  });
  if (rows.length <= MAX_ROWS) return [box];
  const rest = 'The first ' + MAX_ROWS + ' rows; the download has all.';
  return [box, createElement('p', rest, 'soft')];
}

function createTable(columns, rows, caption) {
  const table = createElement('table');
  if (caption) table.append(createElement('caption', caption));
  const head = createElement('tr');
  for (const name of columns) head.append(createElement('th', name));
  const header = createElement('thead');
  header.append(head);
  const body = createElement('tbody');
  for (const row of rows) {
    const line = createElement('tr');
    for (const name of columns) line.append(createElement('td', formatCell(row[name])));
    body.append(line);
  }
  table.append(header, body);
  return table;
}

function formatCell(value) {
  if (value === null || value === undefined) return '';
  if (typeof value === 'number' && !Number.isInteger(value)) return String(+value.toPrecision(6));
  return String(value);
}

// A cell that a spreadsheet would take for a formula begins with an apostrophe.
function toCsv(columns, rows) {
  const quote = value => {
    let text = value === null || value === undefined ? '' : String(value);
    if (typeof value === 'string' && /^[=+\-@\t\r]/.test(text)) text = "'" + text;
    return /[",\n\r]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
  };
  const lines = [columns, ...rows.map(row => columns.map(name => row[name]))];
  return lines.map(cells => cells.map(quote).join(',')).join('\n') + '\n';
}
