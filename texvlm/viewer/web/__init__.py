"""The browser viewer: one page, pictures that are encoded off the engine's thread, and controls that come back.

    ViewSession -> WebViewer -> Snapshot -> Clients -> Publisher -> JPEG -> a socket -> page/view.js
      engine's thread                               encoder's thread    server's thread
          ^------------ Point, SetLayout, ... <- messages <- a socket <- pointer, touch, gaze, keys

The engine's thread never waits for anybody: it copies the newest picture and goes on. A client is given a
message only after it has acknowledged the one before, so that nothing piles up for one that is slow.
Only `server` imports FastAPI and uvicorn.
"""
