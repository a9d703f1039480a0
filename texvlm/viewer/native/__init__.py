"""The native viewer: a window of glfw (or none), and everything drawn by OpenGL from the engine's own texture."""
