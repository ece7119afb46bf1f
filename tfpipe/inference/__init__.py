"""New raw files to tables: whole files, single images, confidence, resume."""
