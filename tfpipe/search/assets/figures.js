// The page of a search: draws each of Plotly's figures in the element "figure-NAME".

const figures = JSON.parse(document.getElementById('page-data').textContent);
const PLOT_OPTIONS = {responsive: true, displayModeBar: false};

for (const [name, figure] of Object.entries(figures)) {
  Plotly.newPlot('figure-' + name, figure.data, figure.layout, PLOT_OPTIONS);
}
