"""Review page of `tfpipe review`: queues of images and of photos, decisions, and their order.

The decision log itself, labels.csv, is in `tasks.annotations`.
"""
