"""`texvlm train`: a checkpoint that loads, the same for the same seed, and one line for what cannot be."""

from __future__ import annotations

import pytest
import torch
from model_folders import save_vit

from texvlm.encoders import load as load_encoder
from texvlm.video_models import load_checkpoint


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the models are so small that threads would wait for each other
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_vit(tmp_path_factory.mktemp("models") / "small")


@pytest.mark.parametrize("kind", ["importance", "delta"])
def test_it_writes_a_helper_and_says_what_it_is_worth(call, clip, model, tmp_path, kind):
    arguments = ("train", kind, clip, "--model", model, "--steps", 5, "--seed", 4)
    done = call(*arguments, "--out", "one.safetensors")
    assert done.code == 0, done.err
    assert "held-out pairs of frames" in done.out
    assert "written: one.safetensors" in done.err
    report = call(*arguments, "--out", "two.safetensors", "--json").json
    assert (report["kind"], report["encoder"], report["clips"], report["frames"]) == (kind, "small", 1, 12)
    assert (tmp_path / "one.safetensors").read_bytes() == (tmp_path / "two.safetensors").read_bytes()
    assert load_checkpoint("one.safetensors", kind=kind, encoder=load_encoder(model))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gaze", "CLIP", "--model", "MODEL"), "helper 'gaze'; accepted: importance, delta"),
        (("delta", "CLIP", "--model", "gone"), "gone: no such folder"),
        (("delta", "gone.mp4", "--model", "MODEL"), "gone.mp4"),
        (("delta", "CLIP", "--model", "MODEL", "--frames", 4), "4 frames; training takes 10 or more of each clip"),
        (("delta", "CLIP", "--model", "MODEL", "--steps", 0), "steps is 0"),
        (("delta", "CLIP", "--model", "MODEL", "--out", "no/such/folder.safetensors"), "cannot be written"),
    ],
)
def test_what_cannot_be_is_one_line(call, clip, model, tmp_path, arguments, says):
    given = [{"CLIP": clip, "MODEL": model}.get(word, word) for word in arguments]
    if "--out" not in given:
        given += ["--out", "helper.safetensors"]
    assert says in call("train", *given).complaint
    assert not list(tmp_path.rglob("*.safetensors*"))
