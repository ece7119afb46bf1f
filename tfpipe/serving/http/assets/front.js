// The front page: what is dropped on it is sent to the server, and the prediction shown.
// Of a model whose task has raw files, such as core photos, these are analyzed (analyze.js);
// an image of the model's own size is a window, which is explained (explain.js).

const byId = id => document.getElementById(id);
const dropZone = byId('drop');
const fileInput = byId('files');
const folderInput = byId('folder');
const models = JSON.parse(byId('page-data').textContent);
const TABLE = /\.(csv|tsv|tab|xlsx|ods)$/i;
const IMAGE = /\.(png|jpe?g|gif|bmp)$/i;

function createElement(tagName, text, className) {
  const element = document.createElement(tagName);
  if (className) element.className = className;
  if (text !== undefined) element.textContent = text;
  return element;
}

function createImage(source, alternative) {
  const image = createElement('img');
  image.src = source;
  image.alt = alternative;
  return image;
}

function authorization() {
  return byId('token') ? {Authorization: 'Bearer ' + byId('token').value} : {};
}

function modelUrl(method) {
  return 'v1/models/' + encodeURIComponent(byId('model').value) + ':' + method;
}

function describeModel() {
  byId('expects').textContent = models[byId('model').value]?.expects || '';
}

// Each entry: {file, path}, the path with its folders.
async function showAll(entries) {
  const visible = entries.filter(entry => !entry.path.split('/').some(name => name.startsWith('.')));
  const model = models[byId('model').value];
  if (!model || model.kind === 'windows') {
    visible.forEach(entry => showExplanation(entry.file));
    return;
  }
  const windows = [];
  const raw = [];
  for (const entry of visible) {
    const isWindow = byId('grad-cam').checked || model.kind === 'photos';
    const fits = isWindow && !entry.path.includes('/') && await hasSize(entry.file, model.image_shape);
    (fits ? windows : raw).push(entry);
  }
  windows.forEach(entry => showExplanation(entry.file));
  if (raw.length) showAnalyses(raw, model);
}

async function hasSize(file, [height, width]) {
  if (!IMAGE.test(file.name)) return false;
  try {
    const bitmap = await createImageBitmap(file);
    return bitmap.height === height && bitmap.width === width;
  } catch {
    return false;
  }
}

function fromInput(input) {
  return [...input.files].map(file => ({file, path: file.webkitRelativePath || file.name}));
}

// The dropped files, and all files in dropped folders.
async function fromDrop(transfer) {
  const roots = [...transfer.items].map(item => item.webkitGetAsEntry?.());
  if (!roots.some(root => root?.isDirectory)) {
    return [...transfer.files].map(file => ({file, path: file.name}));
  }
  const entries = [];
  for (const root of roots) if (root) await collect(root, '', entries);
  return entries;
}

async function collect(entry, folder, entries) {
  const path = folder + entry.name;
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    entries.push({file, path});
    return;
  }
  const reader = entry.createReader();
  for (;;) {  // a reader gives a hundred entries at a time
    const inside = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!inside.length) return;
    for (const inner of inside) await collect(inner, path + '/', entries);
  }
}

byId('model').addEventListener('change', describeModel);
describeModel();
dropZone.addEventListener('click', () => fileInput.click());
byId('choose-folder').addEventListener('click', () => folderInput.click());
for (const input of [fileInput, folderInput]) {
  input.addEventListener('change', () => {
    showAll(fromInput(input));
    input.value = '';
  });
}
dropZone.addEventListener('dragover', event => {
  event.preventDefault();  // else the browser opens the file instead
  dropZone.className = 'over';
});
dropZone.addEventListener('dragleave', () => { dropZone.className = ''; });
dropZone.addEventListener('drop', async event => {
  event.preventDefault();
  dropZone.className = '';
  showAll(await fromDrop(event.dataTransfer));
});
