"""Weights that others have trained: a GPT-2 in a Hugging Face folder as the start of a Decision Transformer.

The folder has what ``save_pretrained`` of ``GPT2Model`` or ``GPT2LMHeadModel`` writes: ``config.json`` and
``model.safetensors``. A file of the older kind, ``pytorch_model.bin``, is a pickle: to read it can run any code, so it
is refused. The Decision Transformer's blocks compute with ReLU, as in the paper; weights that were trained with another
activation function are read all the same, and the run's description says so.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from synthlib.offline.checksums import file_checksum
from synthlib.paths import ROOT, absolute, data_cache, own_params

if TYPE_CHECKING:
    import torch

CONFIG, FILE = "config.json", "model.safetensors"
_PREFIX = "transformer."  # of GPT2LMHeadModel, before the names of GPT2Model
_OF_THE_TRUNK = ("h.", "ln_f.", "wpe.", "wte.")
_SHAPE = {"vocabulary": "vocab_size", "width": "n_embd", "layers": "n_layer", "heads": "n_head"}
_SHAPE |= {"positions": "n_positions"}
# What a GPT-2 may say of its arithmetic, and the one value that the Decision Transformer computes with.
_ARITHMETIC = {
    "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True,
    "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}


class Found(NamedTuple):
    """What a folder has: its absolute path, the SHA-256 of its weights, the shape of its GPT-2."""

    folder: Path
    sha256: str
    shape: dict[str, int]
    """vocabulary, width, layers, heads, positions"""
    activation: str


def find_weights(typed: str) -> Found:
    """The GPT-2 in the folder ``typed``; its weights are looked up, not read.

    A relative folder counts from the folder of the user's own tables, else from the repository. Raises ValueError, in
    one sentence, for a folder without a GPT-2, for a pickle, and for arithmetic that the Decision Transformer lacks.
    """
    folder = absolute(typed, own_params() or ROOT)
    if not folder.is_dir():
        raise ValueError(f"weights: there is no folder {folder}")
    config, file = _config(folder), folder / FILE
    if not file.is_file():
        raise ValueError(_why_not(folder))
    try:
        shape = {name: int(config[theirs]) for name, theirs in _SHAPE.items()}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"weights: {folder / CONFIG} lacks what a GPT-2 has: {error}") from error
    for name, value in _ARITHMETIC.items():
        if config.get(name, value) != value:
            raise ValueError(f"weights: {folder / CONFIG} has {name} {config[name]}; here it can only be {value}")
    return Found(folder, file_checksum(file, data_cache()), shape, str(config.get("activation_function", "gelu_new")))


def read_weights(folder: Path, sha256: str) -> dict[str, "torch.Tensor"]:
    """{name of GPT2Model: float32 tensor} in the folder, without a language model's head.

    Raises ValueError when the file is not the one of the plan, or no safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = folder / FILE
    if file_checksum(file, data_cache()) != sha256:
        raise ValueError(f"{file} was changed after its runs had been planned; start again")
    try:
        found = load_file(file)
    except SafetensorError as error:
        raise ValueError(f"{file} is damaged, or no safetensors file: {error}") from error
    named = {name.removeprefix(_PREFIX): tensor.float() for name, tensor in found.items()}
    return {name: tensor for name, tensor in named.items() if name.startswith(_OF_THE_TRUNK) and not _is_mask(name)}


def load_trunk(trunk: "torch.nn.Module", weights: dict[str, "torch.Tensor"]) -> None:
    """Copy the weights into a ``GPT2Model``. ValueError for a tensor that is missing or has another shape."""
    for name, parameter in trunk.state_dict().items():
        if name not in weights:
            raise ValueError(f"the weights have no {name!r}, which {CONFIG} beside them promises")
        if weights[name].shape != parameter.shape:
            raise ValueError(
                f"the weights' {name} has shape {tuple(weights[name].shape)}; {CONFIG} beside them promises "
                f"{tuple(parameter.shape)}"
            )
        parameter.copy_(weights[name])


def check_fits(found: Found, model: dict[str, int]) -> None:
    """Raise ValueError unless a Decision Transformer with these fields of DTConfig can start from the weights.

    ``model`` has width, layers, heads and timesteps. The sentence says what to write under ``model``.
    """
    theirs = {name: found.shape[name] for name in ("width", "layers", "heads")}
    theirs["timesteps"] = found.shape["positions"]
    different = [name for name, value in theirs.items() if model[name] != value]
    if not different:
        return
    said = ", ".join(f"{name}: {theirs[name]}" for name in different)
    short = ""
    if "timesteps" in different and theirs["timesteps"] < model["time_limit"]:
        short = f", time_limit: {theirs['timesteps']}"
    ours = ", ".join(f"{name} {model[name]}" for name in different)
    raise ValueError(f"the weights in {found.folder} do not fit a model with {ours}; say model: {{{said}{short}}}")


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"weights: {folder} has no {CONFIG}; it must be a folder that save_pretrained of a GPT-2 wrote"
        ) from error
    except ValueError as error:
        raise ValueError(f"weights: {path} is damaged: {error}") from error
    kind = config.get("model_type") if isinstance(config, dict) else None
    if kind != "gpt2":
        raise ValueError(f"weights: {path} is of a model of type {kind!r}; only gpt2 can start a Decision Transformer")
    return config


def _why_not(folder: Path) -> str:
    """Why a folder without the file of weights cannot be read."""
    if any(folder.glob("pytorch_model*.bin")):
        return (
            f"weights: {folder} has its weights as a pickle, which can run any code when it is read; where you trust "
            "it, write it anew: GPT2Model.from_pretrained(folder).save_pretrained(another) of transformers"
        )
    if any(folder.glob("model-*-of-*.safetensors")):
        return (
            f"weights: {folder} has its weights in several files; save_pretrained with max_shard_size=50GB joins them"
        )
    return f"weights: {folder} has no {FILE}; it must be a folder that save_pretrained of a GPT-2 wrote"


def _is_mask(name: str) -> bool:
    """Whether a tensor is the causal mask that older versions of transformers saved among the weights."""
    return name.endswith((".attn.bias", ".attn.masked_bias"))
