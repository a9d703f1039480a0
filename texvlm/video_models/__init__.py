"""Time in the model: heads over several frames, token merging, and small learned helpers."""
