"""Pages of `tfpipe review` and `tfpipe inspect`: queues of images and of photos, and decisions.

The draw and the report of an inspection are here, too. The decision log itself, labels.csv, is in
`tasks.annotations`.
"""
