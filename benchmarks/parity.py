"""Compare uniform tokens with Hugging Face image processors, and write benchmarks/results/parity.json.

    python benchmarks/parity.py --data FOLDER

Needs `pip install "texvlm[hf,bench]"`, pillow, and a folder with `photos/*.jpg`; no model is
downloaded: the processors are made from the settings that the models' own files hold. Two questions:
do texvlm's tokens of pixels that already have the model's size equal what the processor hands to
the model, and how far are they from its antialiased resize when the pixels are larger?
"""

from __future__ import annotations

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray
from PIL import Image

from texvlm.bench.machine import probe_machine, source_commit
from texvlm.drawing.reconstruct import psnr
from texvlm.engine import Engine
from texvlm.layouts import UniformGrid

HALF = [0.5, 0.5, 0.5]
CLIP_MEAN, CLIP_STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
IMAGENET_MEAN, IMAGENET_STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SIDE = 224

# name, processor class, patch, settings as in the model's preprocessor_config.json. DINOv2 resizes to
# 256 before it crops 224; pixels "at model size" are those after that.
MODELS: list[tuple[str, str, int, dict[str, Any]]] = [
    ("google/vit-base-patch16-224", "ViT", 16, {"image_mean": HALF, "image_std": HALF}),
    ("openai/clip-vit-large-patch14", "CLIP", 14, {"image_mean": CLIP_MEAN, "image_std": CLIP_STD}),
    ("google/siglip-base-patch16-224", "Siglip", 16, {"image_mean": HALF, "image_std": HALF, "resample": 3}),
    (
        "facebook/dinov2-base",
        "Bit",
        14,
        {"image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "do_resize": False, "do_center_crop": False},
    ),
]
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def processor(family: str) -> Any:
    """The NumPy or PIL processor class of a family, whatever this version of transformers calls it."""
    name = f"{family}ImageProcessor"
    return getattr(transformers, f"{name}Pil", None) or getattr(transformers, name)


def patchified(image: NDArray[Any], patch: int) -> NDArray[Any]:
    """(tokens, 3, patch, patch), row by row, from (3, height, width)."""
    _, height, width = image.shape
    blocks = image.reshape(3, height // patch, patch, width // patch, patch)
    return blocks.transpose(1, 3, 0, 2, 4).reshape(-1, 3, patch, patch)


def at_model_size(backend: str) -> list[dict[str, Any]]:
    """Largest difference of normalised values, on random pixels of the model's size."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    rows = []
    for model, family, patch, settings in MODELS:
        hand = processor(family)(**settings)
        image = hand(Image.fromarray(pixels), return_tensors="np")["pixel_values"][0]
        expected = patchified(np.asarray(image), patch)
        options = {"mean": settings["image_mean"], "std": settings["image_std"]}
        with Engine(layout=UniformGrid(patch=patch), backend=backend, **options) as engine:
            engine.submit(pixels)
            tokens = engine.tokens().pixels[0].cpu().numpy()
        difference = np.abs(tokens.astype(np.float64) - expected)
        rows.append(
            {
                "model": model,
                "processor": type(hand).__name__,
                "patch": patch,
                "backend": backend,
                "tokens": len(tokens),
                "largest_difference": float(difference.max()),
                "equal_to_the_bit": float(np.mean(tokens == expected)),
                "same_byte": float(np.mean(difference < min(1 / 255 / np.asarray(settings["image_std"])) / 2)),
            }
        )
    return rows


def against_resize(photos: list[Path], backend: str) -> list[dict[str, Any]]:
    """Difference to PIL's antialiased resize of the central square, in 1/255."""
    rows = []
    for path in photos:
        picture = np.asarray(Image.open(path).convert("RGB"))
        for patch in (16, 14):
            cells = SIDE // patch
            side = min(picture.shape[:2]) // cells
            square = side * cells
            top, left = (picture.shape[0] - square) // 2, (picture.shape[1] - square) // 2
            crop = np.ascontiguousarray(picture[top : top + square, left : left + square])
            with Engine(layout=UniformGrid(patch=patch, side=side), backend=backend) as engine:
                engine.submit(crop)
                tokens = engine.tokens().pixels[0].cpu().numpy() * 255
            for name, resample in FILTERS.items():
                resized = np.asarray(Image.fromarray(crop).resize((SIDE, SIDE), resample)).transpose(2, 0, 1)
                expected = patchified(resized, patch).astype(np.float64)
                difference = np.abs(tokens - expected)
                rows.append(
                    {
                        "photo": path.name,
                        "square": square,
                        "patch": patch,
                        "filter": name,
                        "backend": backend,
                        "mean": round(float(difference.mean()), 3),
                        "p99": round(float(np.percentile(difference, 99)), 2),
                        "max": round(float(difference.max()), 1),
                        "psnr": round(psnr(tokens, expected), 2),
                    }
                )
    return rows


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with photos/*.jpg")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "parity.json")
    parser.add_argument("--backend", action="append", help="cpu, gl; may be given more than once")
    arguments = parser.parse_args()
    photos = sorted((arguments.data / "photos").glob("*.jpg"))
    if not photos:
        parser.error(f"{arguments.data}/photos holds no .jpg file")
    backends = arguments.backend or ["cpu"]
    machine = probe_machine()
    machine.packages["transformers"] = transformers.__version__
    report = {
        "machine": machine.model_dump(),
        "commit": source_commit(),
        "command": "python benchmarks/parity.py --data DATA",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "at_model_size": [row for backend in backends for row in at_model_size(backend)],
        "against_resize": [row for backend in backends for row in against_resize(photos, backend)],
    }
    arguments.out.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    for row in report["at_model_size"] + report["against_resize"]:
        print(row)


if __name__ == "__main__":
    main()
