// A window, or any image of a model without raw files: its class, probabilities and Grad-CAM.

const NEW = 'New: it looks like none of the images that the model was trained on.';

async function showExplanation(file) {
  const article = createElement('article');
  const images = createElement('div');
  const result = createElement('div');
  images.append(createImage(URL.createObjectURL(file), file.name), createElement('span', file.name));
  result.append(createElement('p', '...'));
  article.append(images, result);
  byId('results').prepend(article);
  try {
    const explanation = await requestExplanation(file);
    result.replaceChildren(...describe(explanation));
    if (explanation.grad_cam) images.append(createHeatmap(explanation.grad_cam.b64));
  } catch (error) {
    result.replaceChildren(createElement('p', error.message, 'error'));
  }
}

async function requestExplanation(file) {
  const url = modelUrl('explain') + '?grad_cam=' + byId('grad-cam').checked;
  const type = file.type.startsWith('image/') ? file.type : 'image/unknown';
  const headers = {'Content-Type': type, ...authorization()};
  const response = await fetch(url, {method: 'POST', headers, body: file});
  const content = await response.json();
  if (!response.ok) throw Error(content.error);
  return content.explanations[0];
}

// Of an image that is new no probability is shown: a classifier is often certain of those, too.
function describe(explanation) {
  if (explanation.new) {
    const {label} = explanation;
    const named = label === undefined ? '' : 'The model, which names a class for every image, says ' + label + '.';
    return [createElement('p', NEW, 'new'), createElement('p', named, 'soft')];
  }
  const parts = [createHeadline(explanation), createProbabilities(explanation.probabilities || {})];
  if (explanation.novelty !== null) {
    const percent = Math.round(100 * explanation.novelty);
    parts.push(createElement('p', 'More unusual than ' + percent + ' % of images that it was checked on.'));
  }
  return parts;
}

// The class of a classifier, or the reconstruction error of an autoencoder.
function createHeadline(explanation) {
  const {label, error, abstain} = explanation;
  const headline = createElement('p');
  headline.append(createElement('b', label === undefined ? 'error ' + error.toPrecision(3) : label));
  if (abstain) headline.append(' (abstains: not certain enough)');
  return headline;
}

function createProbabilities(probabilities) {
  const table = createElement('table');
  const ranked = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
  for (const [label, probability] of ranked) {
    const row = createElement('tr');
    const cell = createElement('td');
    cell.append(createBar(probability));
    row.append(createElement('th', label), createElement('td', probability.toFixed(3)), cell);
    table.append(row);
  }
  return table;
}

function createBar(share) {
  const bar = createElement('span', undefined, 'bar');
  bar.style.width = 70 * share + '%';
  return bar;
}

function createHeatmap(base64) {
  return createImage('data:image/png;base64,' + base64, 'Grad-CAM: where the class was recognised');
}
