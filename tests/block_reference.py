"""Block matching written down slowly, from its description: nothing is shared with the package."""

from __future__ import annotations

import numpy as np

WINDOW = 16


def smooth_gray(texels: np.ndarray) -> np.ndarray:
    """Luma of (height, width, channels) bytes, weighed 1 2 1 both ways; edges go on for ever."""
    values = texels.astype(np.int64)
    luma = values[..., 0] if values.shape[2] == 1 else (values[..., :3] @ np.array([77, 150, 29]) + 128) >> 8
    padded = np.pad(luma, 1, mode="edge")
    total = np.zeros_like(luma)
    for j, row in enumerate((1, 2, 1)):
        for i, column in enumerate((1, 2, 1)):
            total += row * column * padded[j : j + luma.shape[0], i : i + luma.shape[1]]
    return (total + 8) >> 4


def window(picture: np.ndarray, x: int, y: int, ring: int = 0) -> np.ndarray:
    """The window that begins at (x, y), with so many texels around it."""
    steps = np.arange(-ring, WINDOW + ring)
    rows, columns = np.clip(y + steps, 0, picture.shape[0] - 1), np.clip(x + steps, 0, picture.shape[1] - 1)
    return picture[np.ix_(rows, columns)]


def apart(new: np.ndarray, old: np.ndarray, x: int, y: int, move: tuple[int, int]) -> int:
    return int(np.abs(window(new, x, y) - window(old, x + move[0], y + move[1])).sum())


def spiral(reach: int) -> list[tuple[int, int]]:
    moves = [(dx, dy) for dy in range(-reach, reach + 1) for dx in range(-reach, reach + 1)]
    return sorted(moves, key=lambda move: move[0] ** 2 + move[1] ** 2)[1:]  # a stable sort: row by row


def search(
    new: np.ndarray, old: np.ndarray, pitch: int, coarser: np.ndarray | None, reach: int, *, between: bool
) -> np.ndarray:
    """Displacements, (rows, columns, 2)."""
    rows, columns = -(-new.shape[0] // pitch), -(-new.shape[1] // pitch)
    moves = np.zeros((rows, columns, 2), np.int64)
    for row in range(rows):
        for column in range(columns):
            x, y = (place * pitch + pitch // 2 - WINDOW // 2 for place in (column, row))
            still = apart(new, old, x, y, (0, 0))
            best, least = (0, 0), still
            if still == 0:
                continue

            def attempt(move, x=x, y=y, fee=32 + still // 16):
                nonlocal best, least
                cost = apart(new, old, x, y, move) + (0 if move == (0, 0) else fee)
                if cost < least:
                    best, least = move, cost

            if coarser is not None:
                up, left = row // 2, column // 2
                down = min(max(up + (1 if row % 2 else -1), 0), coarser.shape[0] - 1)
                right = min(max(left + (1 if column % 2 else -1), 0), coarser.shape[1] - 1)
                for parent in ((up, left), (up, right), (down, left), (down, right)):
                    attempt((2 * int(coarser[parent][0]), 2 * int(coarser[parent][1])))
                centre = best
                around = ((0, -1), (-1, 0), (1, 0), (0, 1), (-1, -1), (1, -1), (-1, 1), (1, 1))
                for dx, dy in around:
                    attempt((centre[0] + dx, centre[1] + dy))
            if coarser is None or (between and least > max(1024, still / 2)):
                for move in spiral(reach):
                    attempt(move)
            moves[row, column] = best
    return moves


def record(new: np.ndarray, old: np.ndarray, pitch: int, moves: np.ndarray) -> np.ndarray:
    """(rows, columns, 9): dx, dy, sad, sad in place, and the sums of a least-squares step."""
    found = np.zeros((*moves.shape[:2], 9), np.int64)
    for row in range(moves.shape[0]):
        for column in range(moves.shape[1]):
            x, y = (place * pitch + pitch // 2 - WINDOW // 2 for place in (column, row))
            move = (int(moves[row, column][0]), int(moves[row, column][1]))
            still = apart(new, old, x, y, (0, 0))
            if still == 0:
                continue
            ours, theirs = window(new, x, y, 1), window(old, x + move[0], y + move[1], 1)
            both, less = ours + theirs, ours - theirs
            down = both[:-2] + 2 * both[1:-1] + both[2:]
            across = both[:, :-2] + 2 * both[:, 1:-1] + both[:, 2:]
            gx, gy = down[:, 2:] - down[:, :-2], across[2:] - across[:-2]
            less = less[:-2] + 2 * less[1:-1] + less[2:]
            t = less[:, :-2] + 2 * less[:, 1:-1] + less[:, 2:]
            sums = [int((u * v).sum()) for u, v in ((gx, gx), (gx, gy), (gy, gy), (gx, t), (gy, t))]
            found[row, column] = [*move, apart(new, old, x, y, move), still, *sums]
    return found


def match(new: list[np.ndarray], old: list[np.ndarray], pitch: int, reach: int) -> np.ndarray:
    """What is found from levels of two pyramids, coarsest first, each (height, width, channels) bytes."""
    moves = None
    for index, levels in enumerate(zip(new, old, strict=True)):
        ours, theirs = map(smooth_gray, levels)
        moves = search(ours, theirs, pitch, moves, reach, between=0 < index < len(new) - 1)
    return record(ours, theirs, pitch, moves)


def textured(rng: np.random.Generator, size: tuple[int, int], channels: int = 3) -> np.ndarray:
    """Noise that has something to match on every level, larger than a frame by 24 texels all round."""
    width, height = size[0] + 48, size[1] + 48
    total = np.zeros((height, width, channels))
    for side in (2, 5, 11, 23):
        coarse = rng.normal(0, 1, (height // side + 2, width // side + 2, channels))
        total += np.kron(coarse, np.ones((side, side, 1)))[:height, :width]
    total -= total.min()
    return (total * (255 / total.max())).astype(np.uint8)
