"""Motion between frames: dense backward flow on a grid of patches, whatever it was measured with."""
