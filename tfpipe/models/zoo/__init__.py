"""One module an architecture; `tfpipe.models` has the table of their names."""
