"""Prediction on new raw files: whole files, single images, confidence, resuming a killed run.

How a model is loaded and called is in `registry` and `models`; scores are in `evaluation`.
"""
