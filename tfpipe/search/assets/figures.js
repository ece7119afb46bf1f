// The page of a search: draws each of Plotly's figures in the element "figure-NAME", in the colours of
// the page, which are others where the reader's screen is dark.

const figures = JSON.parse(document.getElementById('page-data').textContent);
const PLOT_OPTIONS = {responsive: true, displayModeBar: false};

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function inColours(figure) {
  const font = {color: colour('--ink')};
  const data = figure.data.map(trace => trace.type === 'parcoords'
    ? {...trace, labelfont: {...trace.labelfont, ...font}, tickfont: {...trace.tickfont, ...font}}
    : trace);
  const layout = {...figure.layout, paper_bgcolor: 'rgba(0,0,0,0)', plot_bgcolor: 'rgba(0,0,0,0)'};
  layout.font = {...layout.font, ...font};
  for (const axis of ['xaxis', 'yaxis'].filter(name => name in layout)) {
    layout[axis] = {...layout[axis], gridcolor: colour('--line'), linecolor: colour('--ink')};
  }
  return [data, layout];
}

function draw() {
  for (const [name, figure] of Object.entries(figures)) {
    Plotly.react('figure-' + name, ...inColours(figure), PLOT_OPTIONS);
  }
}

draw();
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
