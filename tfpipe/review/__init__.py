"""The local annotation page: queue of images or photos, decisions, ranking."""
