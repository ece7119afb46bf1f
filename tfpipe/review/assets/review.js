// What both review pages share: the reviewer's name, messages, requests, and others' decisions.
// The script of each page defines isBusy, applyChanges and load.

const settings = JSON.parse(document.getElementById('page-data').textContent);
const reviewer = document.getElementById('reviewer');
const message = document.getElementById('message');
const POLL_MS = 2000;
const SHORTCUTS = 9;  // classes that have a number key
const NO_SERVER = 'The tfpipe command behind this page does not answer.';
const REORDERED = 'All images have been scored: what follows these is in its new order now.';

let serverState = {lines: 0, n_rankings: null};  // what this page has read so far
let isServerLost = false;
let pendingWork = Promise.resolve();  // decisions are sent one by one, in the order of the keys
const decidedHere = new Set();

function createElement(tagName, properties, ...children) {
  const element = Object.assign(document.createElement(tagName), properties);
  element.append(...children);
  return element;
}

function showMessage(text, isError) {
  message.textContent = text;
  message.classList.toggle('error', !!isError);
}

function isTyping(event) {
  return event.ctrlKey || event.metaKey || event.altKey ||
         ['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName);
}

function enqueue(work) {
  pendingWork = pendingWork.then(work);
  return pendingWork;
}

// Returns the server's answer to a GET, or to a POST of body; null if there is none.
async function request(path, body) {
  const post = {
    method: 'POST',
    headers: {'Content-Type': 'application/json'},
    body: JSON.stringify(body),
  };
  let response, content;
  try {
    response = await fetch(path, body === undefined ? {} : post);
    content = await response.json();
  } catch (error) {
    showNoServer(body !== undefined);
    return null;
  }
  if (response.ok) return content;
  showMessage(content.error || 'Nothing was saved.', true);
  return null;
}

function showNoServer(isDecision) {
  if (isDecision) {
    showMessage(NO_SERVER + ' Nothing was saved. Is it still running?', true);
  } else if (!message.classList.contains('error')) {  // a failed decision stays on the screen
    showMessage(NO_SERVER + ' Saved decisions are safe. Start it again to go on.', true);
  }
}

// Remembers what was read, and returns whether the queue has a new order.
function readState(state) {
  const isReordered = serverState.n_rankings !== null &&  // the first order is not a new one
    serverState.n_rankings !== state.n_rankings;
  serverState = {lines: state.lines, n_rankings: state.n_rankings};
  document.getElementById('progress').textContent = state.progress;
  if (state.notes) {
    const items = state.notes.map(note => createElement('li', {textContent: note}));
    document.getElementById('notes').replaceChildren(...items);
  }
  return isReordered;
}

function warnOfOthers(decisions) {
  for (const decision of decisions) {
    const isOwn = decision.who === reviewer.value;
    if (isOwn || !decidedHere.delete(decision.what)) continue;
    showMessage(decision.who + ' decided about ' + decision.what +
                ' after you: the last decision holds.', true);
  }
}

async function readNews() {
  const news = await request('news?lines=' + serverState.lines);
  if (news && isServerLost) showMessage('The command answers again.');
  isServerLost = !news;
  if (!news) return;
  const isReordered = readState(news);
  if (news.items.length) await applyChanges(news.items);
  warnOfOthers(news.decisions);
  if (!isReordered) return;
  await load(true);
  showMessage(REORDERED);
}

async function poll() {
  if (!isBusy()) await enqueue(readNews);
  setTimeout(poll, POLL_MS);
}

function showClassKeys() {
  const keys = settings.labels.slice(0, SHORTCUTS).map((label, i) =>
    createElement('span', {}, createElement('kbd', {textContent: i + 1}), ' ' + label));
  document.getElementById('classes').append(...keys);
}

if (settings.blind) {  // each judge has a file of answers, so the name cannot change here
  reviewer.value = settings.reviewer;
  reviewer.readOnly = true;
} else {
  reviewer.value = localStorage.getItem('reviewer') || settings.reviewer;
  reviewer.addEventListener('change', () => localStorage.setItem('reviewer', reviewer.value));
}
showClassKeys();
