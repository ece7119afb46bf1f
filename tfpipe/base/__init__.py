"""Files, images, tables, HTML, processes and hardware.

Knows nothing of tasks, models or records.
"""
