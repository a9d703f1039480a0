"""Small vision-language models with random weights, one of every family that takes visual tokens."""

from __future__ import annotations

import torch

IMAGE, PAD, VOCABULARY = 90, 1, 96
QWEN_TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": VOCABULARY,
    "bos_token_id": 2,
    "eos_token_id": 3,
    "pad_token_id": PAD,
}
QWEN_TOKENS = {"image_token_id": IMAGE, "video_token_id": 91, "vision_start_token_id": 92, "vision_end_token_id": 93}


def shaken(model: torch.nn.Module, *, by: float = 0.05) -> torch.nn.Module:
    """In evaluation mode; biases and norms start at 0 and 1, which would hide a mistake."""
    torch.manual_seed(11)
    for parameter in model.parameters():
        parameter.data += by * torch.randn_like(parameter)
    return model.eval()


def qwen2_5_vl() -> torch.nn.Module:
    """Patches of 4, windows of 4 x 4 patches, one block of full attention in three."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "window_size": 16,
        "fullatt_block_indexes": [1],
        "out_hidden_size": 32,
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1]}
    torch.manual_seed(7)
    config = Qwen2_5_VLConfig(vision_config=vision, text_config=QWEN_TEXT | {"rope_parameters": rope}, **QWEN_TOKENS)
    return shaken(Qwen2_5_VLForConditionalGeneration(config))


def qwen3_vl() -> torch.nn.Module:
    """Patches of 4, a position table of 6 x 6, deepstack from two blocks."""
    from transformers import Qwen3VLConfig, Qwen3VLForConditionalGeneration

    vision = {
        "depth": 3,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_heads": 2,
        "patch_size": 4,
        "num_position_embeddings": 36,
        "deepstack_visual_indexes": [0, 1],
        "out_hidden_size": 32,
    }
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True}
    torch.manual_seed(7)
    config = Qwen3VLConfig(
        vision_config=vision, text_config=QWEN_TEXT | {"head_dim": 8, "rope_parameters": rope}, **QWEN_TOKENS
    )
    return shaken(Qwen3VLForConditionalGeneration(config))


def _idefics3(config_class: type, model_class: type) -> torch.nn.Module:
    vision = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "image_size": 32,
        "patch_size": 4,
    }
    text = {key: value for key, value in QWEN_TEXT.items()} | {"model_type": "llama"}
    torch.manual_seed(7)
    config = config_class(
        vision_config=vision, text_config=text, scale_factor=2, image_token_id=IMAGE, pad_token_id=PAD
    )
    return shaken(model_class(config))


def idefics3() -> torch.nn.Module:
    """A grid of 8 x 8 patches of 4, squares of 2 x 2."""
    from transformers import Idefics3Config, Idefics3ForConditionalGeneration

    return _idefics3(Idefics3Config, Idefics3ForConditionalGeneration)


def smolvlm() -> torch.nn.Module:
    """As `idefics3`."""
    from transformers import SmolVLMConfig, SmolVLMForConditionalGeneration

    return _idefics3(SmolVLMConfig, SmolVLMForConditionalGeneration)


FAMILIES = {"qwen2_5_vl": qwen2_5_vl, "qwen3_vl": qwen3_vl, "idefics3": idefics3, "smolvlm": smolvlm}
QWENS = ["qwen2_5_vl", "qwen3_vl"]
