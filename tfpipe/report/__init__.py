"""Report of a version as an HTML page: sections, figures and gallery. It trains nothing."""
