"""texvlm: video in, foveated vision tokens out."""
