"""What an evaluation runs, on how much, and with which numbers fixed beforehand."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

PARTS = {
    "foveation": "planted targets: a probe reads foveated, uniform and dense tokens, fixation on, near and away",
    "finetune": "the same after a short fine-tune of the encoder's last blocks",
    "agreement": "agreement with a full-resolution crop, for every layout from few tokens to many, and for e2",
    "pictures": "PSNR and SSIM by eccentricity of the picture that the tokens show",
    "cost": "time, tokens and multiply-adds of ViT-Ti, S, B and L; the way from frame to features",
}
"""Parts by name, in the order they run: what is timed comes last."""

FOV_DEG = 60.0
"""Field of view across the frame's longer side, in all parts."""

REGION_DEG = (0.5, 1.5)
"""Half sides of the two boxes around the fixation whose mean tokens are read, degrees."""

TOKEN_DEG = 1.0
"""Eccentricity within which the region class token looks, degrees. All three were chosen on frames of another seed."""


class EvalSettings(BaseModel):
    """What to run.

    Attributes:
        model: folder of a pretrained model; None only with `quick`: a tiny one with random weights.
        parts: keys of PARTS; empty for all.
        data: folder that holds photos/; None leaves them out.
        quick: tiny frames, a handful of targets: only to see that all runs; no number means anything.
        tokens: budget of the foveated layouts.
        size: (width, height) of planted frames: 1360 x 768 is 4080 tokens of 16 pixels at full resolution.
        train_frames, test_frames: planted frames to train and to test the probe on.
        photo_frames: more test frames, with parts of the photos as backgrounds.
        targets: in each planted frame.
        finetune_frames, finetune_epochs: of the fine-tune; frames come from the training split.
        seed: of everything drawn at random.
        call_limit_s: a timed call that would take longer, going by a smaller one, is left out.
        rounds: timed calls of each kind; fewer where one takes long.
        threads: of torch; None for as many as there are cores.
        command: what the reports name as the command that made them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: Path | None = None
    parts: tuple[str, ...] = ()
    data: Path | None = None
    quick: bool = False
    tokens: int = Field(default=268, ge=16)
    size: tuple[int, int] = (1360, 768)
    train_frames: int = Field(default=80, ge=2)
    test_frames: int = Field(default=40, ge=2)
    photo_frames: int = Field(default=16, ge=0)
    targets: int = Field(default=6, ge=1)
    finetune_frames: int = Field(default=48, ge=1)
    finetune_epochs: int = Field(default=2, ge=1)
    seed: int = Field(default=0, ge=0)
    call_limit_s: float = Field(default=40.0, gt=0)
    rounds: int = Field(default=9, ge=1)
    threads: int | None = Field(default=None, ge=1)
    command: str = "texvlm eval"

    def sized(self) -> EvalSettings:
        """Itself, or with `quick` the same on next to nothing."""
        if not self.quick:
            return self
        small = {"tokens": 40, "size": (320, 192), "train_frames": 5, "test_frames": 4, "photo_frames": 2}
        return self.model_copy(
            update={
                **small,
                "targets": 2,
                "finetune_frames": 2,
                "finetune_epochs": 1,
                "threads": 1,
                "rounds": 2,
                "call_limit_s": 5.0,
            }
        )
