"""The page itself: markup, style and policy; what moves in it is in the two scripts."""

import base64
import hashlib
import json

from tfpipe.base.html import Html, joined, tag
from tfpipe.review import grid_script, strip_script
from tfpipe.review.decision_desk import Queue

HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",  # the address holds the secret
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}
LOOKS = """
:root { --ink: #1d2a33; --soft: #5c6b75; --line: #dde4e8; --pale: #f4f7f8; --first: #2f6690;
  --validated: #2e7d4f; --dubious: #c77c11; --wrong: #b3261e }
* { box-sizing: border-box } [hidden] { display: none !important }
body { margin: 0; color: var(--ink); background: #fff;
  font: 15px/1.45 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
header { position: sticky; top: 0; z-index: 9; background: #fff; padding: .6rem 1rem;
  border-bottom: 1px solid var(--line) }
h1 { font-size: 1.1rem; margin: 0 } header p { margin: .15rem 0 } .soft { color: var(--soft) }
.row { display: flex; gap: .5rem 1rem; align-items: center; flex-wrap: wrap }
input, select, button { font: inherit; padding: .15rem .5rem } #who { width: 9rem }
#said { min-height: 1.4em } #said.wrong { color: #fff; background: var(--wrong); padding: 0 .4rem }
kbd { border: 1px solid var(--line); border-radius: .2rem; padding: 0 .3rem; font-size: .85em }
main { padding: 1rem } details { max-width: 52rem; font-size: .9rem }
#classes span { white-space: nowrap; margin-right: .9rem }
.grid { display: grid; gap: .7rem; grid-template-columns: repeat(auto-fill, minmax(9.5rem, 1fr)) }
figure { margin: 0; padding: .35rem; border: 3px solid var(--line); border-radius: .4rem;
  cursor: pointer; overflow-wrap: anywhere; font-size: .82rem; line-height: 1.3 }
figure img { width: 100%; height: 8rem; object-fit: contain; background: var(--pale);
  image-rendering: pixelated } figure b { font-size: .95rem }
figure .key { display: block; overflow: hidden; text-overflow: ellipsis; white-space: nowrap;
  direction: rtl; text-align: left }
figure.validated { border-color: var(--validated) } figure.dubious { border-color: var(--dubious) }
figure[aria-current=true] { outline: 3px solid var(--first); outline-offset: 2px }
.desk { display: grid; gap: 1.5rem; align-items: start;
  grid-template-columns: 14rem 42rem minmax(12rem, 1fr) }
.files { max-height: calc(100vh - 15rem); overflow: auto; font-size: .88rem; padding: 0; margin: 0;
  list-style: none; position: sticky; top: 14rem } .files li { padding: .25rem .4rem;
  cursor: pointer; border-left: 4px solid transparent }
.files li.validated { border-color: var(--validated) }
.files li.dubious { border-color: var(--dubious) }
.files li[aria-current=true] { border-color: var(--first); background: var(--pale) }
#core { position: relative; user-select: none; touch-action: none; cursor: crosshair;
  margin-left: 5rem; background: var(--pale) } #core img { display: block; pointer-events: none }
.span { position: absolute; left: -.8rem; right: -.8rem; border: 1px solid #8899a3; min-height: 6px;
  border-left-width: .7rem; border-right-width: .7rem; cursor: move }
.span.validated { border-color: var(--validated) } .span.dubious { border-color: var(--dubious) }
.span.none { opacity: .45 } .span.none span { text-decoration: line-through }
.span.tabled { border-top-style: dashed; border-bottom-style: dashed }
.span.drawing { border-color: var(--first) } .span[aria-current=true] { outline: 2px solid
  var(--first); outline-offset: 2px } .span[aria-current=true] span { font-weight: 600 }
.span span { position: absolute; left: calc(100% + 1.3rem); top: -.5rem;
  white-space: nowrap; font-size: .78rem; pointer-events: none }
.span i { position: absolute; left: 0; right: 0; height: 7px; cursor: ns-resize }
.span i.top { top: -9px } .span i.bottom { bottom: -9px }
.tick { position: absolute; left: -5rem; width: 4.1rem; font-size: .75rem; color: var(--soft);
  text-align: right; border-top: 1px solid var(--line); pointer-events: none }
#list { position: sticky; top: 14rem; list-style: none; margin: 0; padding: 0; font-size: .88rem;
  max-height: 70vh; overflow: auto } #list li { padding: .2rem .5rem; cursor: pointer;
  border-left: 4px solid #8899a3 } #list li.validated { border-color: var(--validated) }
#list li.dubious { border-color: var(--dubious) } #list li[aria-current=true] {
  background: var(--pale); font-weight: 600 }
.found { position: absolute; left: -1.4rem; width: .5rem; background: #7b2fbf; min-height: 3px }
#depth { position: absolute; left: -5rem; width: 4.6rem; font-size: .8rem; text-align: right;
  border-top: 1px solid var(--ink); background: #fff; z-index: 1; pointer-events: none }
"""
SHARED = """
const name = document.getElementById('who'), said = document.getElementById('said');
name.value = localStorage.getItem('who') || told.who;
name.addEventListener('change', () => localStorage.setItem('who', name.value));
function say(words, wrong) {
  said.textContent = words;
  said.classList.toggle('wrong', !!wrong);
}
async function ask(path, body) {
  let answer, found;
  try {
    answer = await fetch(path, body === undefined ? {} : {method: 'POST',
      headers: {'Content-Type': 'application/json'}, body: JSON.stringify(body)});
    found = await answer.json();
  } catch (error) {
    if (body !== undefined) {
      say('The command behind this page does not answer: nothing was saved. Is it still running?',
          true);
    } else if (!said.classList.contains('wrong')) {  // what was not saved stays to be read
      say('The command behind this page does not answer. What was saved is kept; start it again ' +
          'to go on.', true);
    }
    return null;
  }
  if (answer.ok) return found;
  say(found.error || 'Nothing was saved.', true);
  return null;
}
let queue = Promise.resolve();  // one decision after the other, in the order of the keys
function then(work) { queue = queue.then(work); return queue; }
document.getElementById('classes').append(...told.labels.slice(0, 9).map((label, i) =>
  element('span', {}, element('kbd', {textContent: i + 1}), ' ' + label)));
let known = {lines: 0, turn: 0};  // how far this page has read
let lost = false;  // whether the command has stopped answering
const mine = new Set();  // what was decided here
const ORDERED = 'All pictures have been looked at: what comes after these stands in its order now.';
function learn(found) {  // returns whether the queue has been put in another order
  const turned = known.turn !== found.turn;
  known = {lines: found.lines, turn: found.turn};
  document.getElementById('doing').textContent = found.doing;
  if (found.notes) document.getElementById('notes').replaceChildren(
    ...found.notes.map(note => element('li', {textContent: note})));
  return turned;
}
async function news() {
  if (!busy()) await then(async () => {
    const found = await ask('news?lines=' + known.lines);
    if (found && lost) say('The command answers again.');
    lost = !found;
    if (!found) return;
    const turned = learn(found);
    if (found.items.length) await changed(found.items);
    for (const one of found.by) {
      if (one.who === name.value || !mine.delete(one.what)) continue;
      say(one.who + ' decided about ' + one.what + ' after you: the last decision holds.', true);
    }
    if (!turned) return;
    await load(true);
    say(ORDERED);
  });
  setTimeout(news, 2000);
}
function typing(event) {
  return event.ctrlKey || event.metaKey || event.altKey ||
         ['INPUT', 'SELECT', 'TEXTAREA'].includes(event.target.tagName);
}
function element(kind, given, ...inner) {
  const made = Object.assign(document.createElement(kind), given);
  made.append(...inner);
  return made;
}
"""


def text(queue: Queue, *, title: str, who: str) -> str:
    """Returns the page, whose own script may run and which fetches from nowhere else."""
    given = {"who": who, "labels": list(queue.labels), "file": queue.desk.path.name}
    told = json.dumps(given).replace("<", "\\u003c")  # no text can end the script
    part = grid_script if queue.kind == "pictures" else strip_script
    script = f"const told = {told};\n{SHARED}{part.SCRIPT}"
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src 'self' data:; connect-src 'self'; form-action 'none'; base-uri 'none'"
    )
    head = Html(
        '<head><meta charset="utf-8"><link rel="icon" href="data:,">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"{tag('title', title)}<style>{LOOKS}</style></head>\n"
    )
    notes = tag("ul", *(tag("li", note) for note in queue.notes), id="notes")
    about = tag("details", tag("summary", "What stands in which order, and why"), notes)
    name = tag("label", "Reviewer ", Html('<input id="who" maxlength="60">'))
    header = tag(
        "header",
        tag("div", tag("h1", title), name, tag("span", id="count"), class_="row"),
        tag("p", part.KEYS, class_="soft"),
        tag("p", id="classes"),
        tag("p", queue.doing, id="doing", class_="soft"),
        tag("p", id="said", role="status"),
        about,
    )
    body = tag("body", header, tag("main", part.MARKUP), tag("script", Html(script)))
    return f'<!doctype html>\n<html lang="en">\n{joined(head, body)}</html>\n'
