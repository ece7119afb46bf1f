"""Tasks: questions asked of one kind of image, and how their raw files are read.

The `Task` value, options, splits and reviewers' annotations; one package a task; `samples` draws
small raw data for each. Nothing here imports TensorFlow, or knows records, models or versions.
"""
