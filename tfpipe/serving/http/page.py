"""The server's two pages: where a picture is dropped, and what the API takes; offline, too."""

import json
from typing import Any

from tfpipe.base.html import LOOKS, Html, joined, table, tag

POLICY = (
    "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self'"
)
OWN = """
#drop { border: 2px dashed var(--line); border-radius: .6rem; padding: 2.4rem 1rem;
  text-align: center; background: var(--pale); cursor: pointer; margin: 1rem 0 }
#drop.over { border-color: var(--first) }
#answers { display: grid; gap: 1.6rem; margin: 1.2rem 0 }
#answers article { display: grid; gap: .4rem 1.4rem; grid-template-columns: 14rem 1fr }
#answers img { max-width: 14rem; border-radius: .25rem; display: block; margin-bottom: .4rem }
#answers td:last-child { min-width: 9rem } .no { color: #a4302a }
@media (max-width: 40rem) { #answers article { grid-template-columns: 1fr } }
label { margin-right: 1.2rem } pre { background: var(--pale); padding: .8rem; overflow-x: auto }
"""
SCRIPT = """
const byId = id => document.getElementById(id), drop = byId('drop'), files = byId('files');
function made(name, text, kind) {
  const one = document.createElement(name);
  if (kind) one.className = kind;
  if (text !== undefined) one.textContent = text;
  return one;
}
async function answer(file) {
  const article = made('article'), seen = made('div'), said = made('div');
  const image = made('img');
  image.src = URL.createObjectURL(file);
  seen.append(image, made('span', file.name));
  said.append(made('p', '...'));
  article.append(seen, said);
  byId('answers').prepend(article);
  try { said.replaceChildren(...told(await asked(file), seen)); }
  catch (error) { said.replaceChildren(made('p', error.message, 'no')); }
}
async function asked(file) {
  const url = 'v1/models/' + encodeURIComponent(byId('model').value) + ':explain?grad_cam=' +
    byId('heat').checked;
  const headers = {'Content-Type': file.type.startsWith('image/') ? file.type : 'image/unknown'};
  if (byId('token')) headers.Authorization = 'Bearer ' + byId('token').value;
  const answer = await fetch(url, {method: 'POST', headers, body: file});
  const content = await answer.json();
  if (!answer.ok) throw Error(content.error);
  return content.explanations[0];
}
function told(one, seen) {
  const lead = made('p'), table = made('table');
  lead.append(made('b', one.label === undefined ? 'error ' + one.error.toPrecision(3) : one.label));
  if (one.unsure) lead.append(' (unsure)');
  const shares = Object.entries(one.probabilities || {}).sort((a, b) => b[1] - a[1]);
  for (const [name, share] of shares) {
    const row = made('tr'), bar = made('span', undefined, 'bar'), cell = made('td');
    bar.style.width = 70 * share + '%';
    cell.append(bar);
    row.append(made('th', name), made('td', share.toFixed(3)), cell);
    table.append(row);
  }
  const found = [lead, table];
  if (one.novelty !== null) found.push(made('p', 'Newer to the model than ' +
    Math.round(100 * one.novelty) + ' % of the test pictures.'));
  if (one.grad_cam) {
    const heat = made('img');
    heat.src = 'data:image/png;base64,' + one.grad_cam.b64;
    heat.alt = 'where the model saw it';
    seen.append(heat);
  }
  return found;
}
drop.onclick = () => files.click();
files.onchange = () => [...files.files].forEach(answer);
drop.ondragover = event => { event.preventDefault(); drop.className = 'over'; };
drop.ondragleave = () => drop.className = '';
drop.ondrop = event => {
  event.preventDefault();
  drop.className = '';
  [...event.dataTransfer.files].forEach(answer);
};
"""


def front(names: list[str], *, has_token: bool) -> str:
    """Returns the page where a picture is dropped and the answer seen.

    Args:
      names: of models.
      has_token: whether the server asks for one.
    """
    options = joined(*(tag("option", name) for name in names))
    fields = [
        tag("label", "Model ", tag("select", options, id="model")),
        tag("label", Html('<input type="checkbox" id="heat"> '), "show where it looked"),
    ]
    if has_token:
        fields.append(tag("label", "Token ", Html('<input type="password" id="token">')))
    body = joined(
        tag("h1", "Drop a picture"),
        tag("p", *fields),
        tag("div", "Drop pictures here, or click to choose some", id="drop"),
        Html('<input type="file" id="files" accept="image/*" multiple hidden>'),
        tag("div", id="answers"),
        tag("p", tag("a", "What programs may ask", href="docs"), class_="soft"),
    )
    return _page("tfpipe", body, script=SCRIPT)


def docs(api: dict[str, Any], *, base: str) -> str:
    """Returns what programs may ask.

    Args:
      api: in OpenAPI's words.
      base: the server's address, for examples.
    """
    rows, parts = [], []
    for path, methods in api["paths"].items():
        for method, told in methods.items():
            rows.append([f"{method.upper()} {path}", told["summary"]])
            if method == "post" and "/versions/" not in path and "/labels/" not in path:
                parts += _example(path, told, base=base)
    seen = {path: answers for path, answers in api["paths"].items() if ":predict" in path}
    answers = next(iter(seen.values()))["post"]["responses"]
    refusals = [[code, told["description"]] for code, told in answers.items() if code >= "400"]
    body = joined(
        tag("h1", "What programs may ask"),
        tag("p", "TensorFlow Serving's REST API, and a little more. As OpenAPI: ", _link()),
        table(["Request", "What it does"], rows),
        *parts,
        tag("h2", "Refusals"),
        tag("p", 'Always {"error": "one sentence"}.'),
        table(["Status", "Why"], refusals),
    )
    return _page("tfpipe: what programs may ask", body)


def _example(path: str, told: dict[str, Any], *, base: str) -> list[Html]:
    example = json.dumps(told["requestBody"]["content"]["application/json"]["example"])
    line = f"curl -d '{example}' {base}{path.replace('{name}', 'NAME')}"
    return [tag("h3", told["summary"]), tag("pre", line)]


def _link() -> Html:
    return tag("a", "openapi.json", href="openapi.json")


def _page(title: str, body: Html, *, script: str = "") -> str:
    head = Html(
        '<head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f"{tag('title', title)}<style>{LOOKS}{OWN}</style></head>\n"
    )
    end = Html(f"<script>{script}</script>") if script else Html()
    return f'<!doctype html>\n<html lang="en">\n{head}{tag("body", body, end)}</html>\n'
