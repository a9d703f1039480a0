"""Loading: a folder or a model becomes an encoder, or one line says what is wrong with it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

import texvlm
from texvlm import ModelError, encoders
from texvlm.encoders.vit import ViTEncoder


@pytest.fixture
def folder(vit_folder, tmp_path):
    """A copy of the small ViT's folder, to damage."""
    return shutil.copytree(vit_folder, tmp_path / "model")


def edit_weights(folder, change):
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_folder_becomes_an_encoder(vit_folder, make_vit, capfd):
    encoder = encoders.load(vit_folder)
    assert isinstance(encoder, ViTEncoder)
    assert not encoder.training
    assert (encoder.name, encoder.patch, encoder.width, encoder.native_grid) == ("small-vit", 8, 32, (6, 6))
    assert (encoder.mean, encoder.std) == ((0.5,) * 3, (0.5,) * 3)
    own = make_vit().state_dict()
    assert all(torch.equal(value, own[name]) for name, value in encoder.model.state_dict().items())
    assert capfd.readouterr().err == ""  # no progress bar
    assert encoders.load(str(vit_folder), dtype=torch.bfloat16).dtype == torch.bfloat16


def test_the_normalisation_is_the_folders(folder):
    (folder / "preprocessor_config.json").write_text('{"image_mean": [0.4, 0.5, 0.6], "image_std": [0.1, 0.2, 0.3]}')
    encoder = encoders.load(folder)
    assert (encoder.mean, encoder.std) == ((0.4, 0.5, 0.6), (0.1, 0.2, 0.3))


def test_the_normalisation_that_transformers_5_saves_with_a_tokenizer(folder):
    numbers = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6]}
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": numbers}))
    encoder = encoders.load(folder)
    assert (encoder.mean, encoder.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))


def test_a_model_that_was_trained_without_normalisation(folder):
    settings = {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    encoder = encoders.load(folder)
    assert (encoder.mean, encoder.std) == ((0.0,) * 3, (1.0,) * 3)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_mean": [0.5] * 2}, r"mean \(0.5, 0.5\) and std \(0.5, 0.5, 0.5\) for a model of 3 channels; give"),
        (
            {"image_mean": "half"},
            "preprocessor_config.json: image_mean is 'half'; it needs one finite number",
        ),
        ({"image_std": [0, 1, 1]}, r"image_std is \[0, 1, 1\]; it needs one finite number above 0 a channel"),
        ({"image_std": 0.5}, "image_std is 0.5; it needs"),
    ],
)
def test_a_normalisation_that_cannot_be_meant(folder, settings, words):
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    assert re.search(words, refusal(folder))


def test_a_model_is_used_and_not_copied(make_vit):
    model = make_vit()
    assert encoders.load(model).model is model


def refusal(folder, **options) -> str:
    with pytest.raises(ModelError) as refused:
        encoders.load(folder, **options)
    message = str(refused.value)
    assert "\n" not in message
    assert isinstance(refused.value, texvlm.TexvlmError)
    return message


def test_a_folder_that_is_not_there_says_how_to_get_one(tmp_path):
    assert "gone: no such folder; texvlm downloads nothing, so fetch the model first" in refusal(tmp_path / "gone")
    assert "google/vit-base-patch16-224: no such folder" in refusal("google/vit-base-patch16-224")


def test_a_folder_without_its_parts(folder):
    (folder / "model.safetensors").unlink()
    assert "no *.safetensors; fetch the weights beside config.json" in refusal(folder)
    (folder / "config.json").write_text("{}")
    assert "names no model_type" in refusal(folder)
    (folder / "config.json").write_text("{")
    assert "config.json: cannot be read as JSON" in refusal(folder)
    (folder / "config.json").write_text("[]")
    assert "holds no JSON object" in refusal(folder)
    (folder / "config.json").unlink()
    assert "no config.json; give a folder as save_pretrained" in refusal(folder)


def test_missing_weights(folder, capfd):
    edit_weights(folder, lambda weights: weights.pop("vit.layernorm.weight"))
    assert "1 weights are missing, vit.layernorm.weight among them; fetch" in refusal(folder)
    assert capfd.readouterr().err == ""


def test_weights_of_another_shape(folder):
    edit_config(folder, image_size=64)
    message = refusal(folder)
    assert "1 weights do not fit the configuration, vit.embeddings.position_embeddings among them; fetch" in message


def test_more_blocks_than_the_configuration_has(folder):
    edit_config(folder, num_hidden_layers=2)
    assert "blocks that the configuration does not have, vit.layers.2." in refusal(folder)


def test_a_classifier_that_nobody_asked_for_is_left_alone(folder):
    edit_weights(folder, lambda weights: weights.update(spare=torch.zeros(3)))
    edit_config(folder, architectures=["ViTModel"])
    encoder = encoders.load(folder)
    assert encoder.labels == {}
    assert encoder.body.pooler is None  # the folder has none: a random one would answer


def test_a_family_under_the_name_of_another(folder):
    edit_config(folder, model_type="dinov2")
    assert "a ViTForImageClassification is no model of type 'dinov2' that its adapter takes (" in refusal(folder)


def test_a_damaged_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    assert "cannot be loaded (" in refusal(folder)


def test_a_position_table_that_does_not_fit(make_vit):
    model = make_vit()
    table = model.vit.embeddings.position_embeddings
    model.vit.embeddings.position_embeddings = torch.nn.Parameter(table[:, :30])
    with pytest.raises(
        ValueError, match=r"position table of shape \(29, 32\) for a grid of 6 x 6; it needs 36 entries"
    ):
        encoders.load(model)


def test_a_model_type_without_an_adapter(folder, make_vit):
    edit_config(folder, model_type="bert")
    assert "no adapter for model type 'bert'; there are " in refusal(folder)
    assert "no adapter for model type 'None'" in refusal(torch.nn.Linear(2, 2))


def test_attention_that_takes_no_mask(make_vit):
    model = make_vit()
    model.config._attn_implementation = "flash_attention_2"
    assert "attention 'flash_attention_2' of ViTForImageClassification takes no mask" in refusal(model)


def test_patches_that_are_not_square(make_vit):
    assert "patches of (8, 16); tokens are square" in refusal(make_vit(patch_size=(8, 16)))


def test_an_unknown_way_to_read_positions(vit_folder):
    with pytest.raises(ValueError, match="positions 'cubic'; accepted"):
        encoders.load(vit_folder, positions="cubic")


def test_an_adapter_of_the_users(make_vit, monkeypatch):
    monkeypatch.setattr("texvlm.encoders.loading.ADAPTERS", dict(encoders.ADAPTERS))

    class Mine(ViTEncoder):
        """Another."""

    encoders.register("vit", Mine)
    assert type(encoders.load(make_vit())) is Mine
    with pytest.raises(TypeError, match="factory 3 of model type 'vit' cannot be called"):
        encoders.register("vit", 3)


def test_without_transformers_one_line_says_what_to_install(vit_folder):
    code = f"""
import sys
sys.modules["transformers"] = None
from texvlm import ModelError, encoders
try:
    encoders.load({str(vit_folder)!r})
except ModelError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=texvlm.__path__[0] + "/.."
    )
    assert done.stdout == "transformers is not installed; pip install 'texvlm[hf]'\n"


def test_importing_the_encoders_does_not_import_transformers():
    code = "import sys, texvlm.encoders, texvlm.encoders.vit; print('transformers' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=texvlm.__path__[0] + "/.."
    )
    assert done.stdout == "False\n"
