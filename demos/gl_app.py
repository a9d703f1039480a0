"""A renderer that gets tokens of the frame it has just drawn, from its own texture, without a copy through the host.

    python demos/gl_app.py [--eyes mono|side-by-side|layers] [--context lent|shared] [--frames 120] [--out DIR]

`lent`: texvlm works in the app's context, on the app's thread. `shared`: the app draws on a thread of its own, and
texvlm works on another one, in a context that shares textures with the app's. Needs moderngl (extra `demos`).
"""

import argparse
import sys
import threading
from pathlib import Path
from queue import SimpleQueue

import texvlm
from texvlm.drawing.pictures import write_png

try:
    from gl_app_renderer import App, SharedContext
    from gl_app_tokens import Tokens, backend_here
except ImportError as missing:
    sys.exit(f'gl_app: {missing.name} is missing; pip install "texvlm[demos]"')


def lent(kind: str, size: tuple[int, int], frames: int, backend: str, out: Path | None) -> None:
    """One thread, one context: draw a frame, get its tokens, draw the next."""
    app = App(kind, size)
    with Tokens(app, backend_here(backend)) as tokens:
        for frame in range(frames):
            app.draw(frame)
            tokens.take(frame)
        finish(app, tokens, out)
    app.close()


def shared(kind: str, size: tuple[int, int], frames: int, backend: str, out: Path | None) -> None:
    """The app draws into one buffer on its thread and context, while the other one's tokens are taken here."""
    free, drawn, done = SimpleQueue(), SimpleQueue(), threading.Event()

    def draw() -> None:
        try:
            app = App(kind, size, buffers=2)
            drawn.put((app, SharedContext()))
            for frame in range(frames):
                buffer = free.get()
                app.draw(frame, buffer)
                drawn.put((frame, buffer))
            done.wait()  # its textures live until texvlm has let go of them
            app.close()
        except Exception as error:
            drawn.put(error)

    thread = threading.Thread(target=draw, name="app", daemon=True)
    thread.start()
    app, context = received(drawn)
    context.make_current()
    with Tokens(app, backend_here(backend)) as tokens:
        for buffer in range(len(app.buffers)):
            free.put(buffer)
        for _ in range(frames):
            frame, buffer = received(drawn)
            tokens.take(frame, buffer)
            free.put(buffer)  # it was read: the app may draw into it
        finish(app, tokens, out)
    context.close()
    done.set()
    thread.join()


def received(queue: SimpleQueue) -> tuple:
    item = queue.get()
    if isinstance(item, Exception):
        raise item
    return item


def finish(app: App, tokens: Tokens, out: Path | None) -> None:
    print(f"{app.context.info['GL_RENDERER']}: {len(app.eyes)} of {app.size[0]} x {app.size[1]}")
    print(tokens.report(app.spent_ms))
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        write_png(out / "gl_app.png", tokens.picture())
        print(f"wrote {out / 'gl_app.png'}")


def size_of(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text!r} is no size; give WxH, such as 640x384")
    return int(width), int(height)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--eyes", choices=("mono", "side-by-side", "layers"), default="mono")
    parser.add_argument("--context", choices=("lent", "shared"), default="lent")
    parser.add_argument("--backend", choices=("gl", "cuda"), default="gl")
    parser.add_argument("--size", type=size_of, default=(640, 384), help="WxH of one eye's picture")
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--out", type=Path, help="folder for a picture of the last frame")
    arguments = parser.parse_args()
    if arguments.frames < 1:
        parser.error(f"--frames is {arguments.frames}; at least 1 is needed")
    run = lent if arguments.context == "lent" else shared
    run(arguments.eyes, arguments.size, arguments.frames, arguments.backend, arguments.out)


if __name__ == "__main__":
    try:
        main()
    except (texvlm.TexvlmError, ValueError, OSError) as error:
        sys.exit(f"gl_app: {error}")
