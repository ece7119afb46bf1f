// The map of an exploration: points are coloured by a column; the one under the mouse is shown.

const data = JSON.parse(document.getElementById('page-data').textContent);
const map = document.getElementById('map');
const colourMenu = document.getElementById('colour');
const thumbnail = document.getElementById('thumbnail');
const caption = document.getElementById('caption');
const MARKER_PX = 6;
const ALL_ROWS = data.x.map((_, row) => row);
const PLOT_OPTIONS = {responsive: true, displayModeBar: false, scrollZoom: true};

function pointsOf(rows, properties) {
  return {
    type: 'scatter',
    mode: 'markers',
    x: rows.map(row => data.x[row]),
    y: rows.map(row => data.y[row]),
    customdata: rows,
    hoverinfo: 'none',  // the caption beside the map says it
    ...properties,
  };
}

function numericTrace(column) {
  const marker = {
    size: MARKER_PX, color: column.values, colorscale: 'Viridis', showscale: true,
  };
  return pointsOf(ALL_ROWS, {name: column.name, marker});
}

// A trace for each category, so that the legend can hide it.
function categoryTraces(column) {
  return column.categories.map((category, index) => {
    const rows = ALL_ROWS.filter(row => column.values[row] === index);
    const marker = {size: MARKER_PX, color: column.colours[index]};
    return pointsOf(rows, {name: category, marker});
  });
}

function drawMap() {
  const column = data.columns[colourMenu.selectedIndex];
  const isNumeric = column.categories === null;
  const traces = isNumeric ? [numericTrace(column)] : categoryTraces(column);
  Plotly.react(map, traces, {...data.layout, showlegend: !isNumeric}, PLOT_OPTIONS);
}

function showPoint(row) {
  thumbnail.src = 'data:image/jpeg;base64,' + data.thumbnails[row];
  thumbnail.hidden = false;
  caption.textContent = data.captions[row];
}

drawMap();
colourMenu.addEventListener('change', drawMap);
map.on('plotly_hover', event => showPoint(event.points[0].customdata));
