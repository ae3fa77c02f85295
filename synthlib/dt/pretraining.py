"""Pre-training of the Decision Transformer's backbone: GPT-2 as a language model on tokens (faithfulness section 2).

The model is Hugging Face's own GPT-2 at the paper's size (Table 9). So plain ``transformers`` reads every model from
here, and every GPT-2 of that shape can be fine-tuned here. Tokens come from a Markov chain, from text, or from any
function that maps the number of an update to integer tokens (B, T) (:mod:`synthlib.dt.token_batches`).
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F
from torch.utils._pytree import tree_map

from synthlib.dt.dropout import DrawnDropout, Generator
from synthlib.dt.transformers_adam import TransformersAdamW
from synthlib.machine import devices
from synthlib.machine.devices import CPU, put

if TYPE_CHECKING:  # the import takes seconds, and only pre-training needs it
    from transformers import GPT2Config, GPT2LMHeadModel

OBJECTIVES = ("next_token", "identity", "mapping", "mapping_within")
MAPPING_SEED = 666
LOG_EVERY = 10
Logits = Callable[..., torch.Tensor]
"""The forward pass of a pre-training: :func:`logits` or its fast twin."""


@dataclass(frozen=True)
class GPT2PretrainingConfig:
    """Hyperparameters of a pre-training. The defaults are from the paper's Table 9 and, beyond it, the released code.

    Raises ValueError for an unknown ``objective`` or ``decay``, for sequences longer than the position table, and for a
    ``width`` that cannot be divided among the ``heads``.
    """

    vocabulary: int
    """Number of different tokens; there are no special tokens."""
    objective: str = "next_token"
    sequence_length: int = 1024
    batch_size: int = 64
    width: int = 128
    layers: int = 3
    heads: int = 1
    positions: int = 1024
    dropout: float = 0.1
    seed: int = 0
    """Seed of the initial weights and of dropout. The authors seeded neither and have one model per setting."""
    learning_rate: float = 3e-4
    warmup_updates: int = 10_000
    schedule_updates: int = 80_000
    """The update at which the learning rate reaches 0: the paper's 20K models are 80K runs stopped at 20K."""
    decay: str = "linear"
    """After the warm-up: "linear" as in the code, or "constant" as in Table 9, which names only the warm-up."""
    schedule_speedup: int = 1
    """Schedule steps per update: 2 with the authors' two-process launcher (faithfulness 2.5)."""
    weight_decay: float = 0.01
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective={self.objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
        if self.decay not in ("linear", "constant"):
            raise ValueError(f"decay={self.decay!r} is unknown; choose linear or constant")
        if self.sequence_length > self.positions:
            raise ValueError(f"{self.sequence_length} tokens do not fit into {self.positions} positions")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be divided among {self.heads} heads")


def learning_rate(config: GPT2PretrainingConfig, update: int) -> float:
    """The learning rate of the 0-based ``update``: rises linearly from 0 in the warm-up, then falls linearly to 0.

    So the first update does not change the weights. With ``config.decay`` "constant" the rate does not fall.
    """
    step, warmup, total = config.schedule_speedup * update, config.warmup_updates, config.schedule_updates
    if step < warmup:
        return config.learning_rate * step / warmup
    if config.decay == "constant":
        return config.learning_rate
    return config.learning_rate * max(0.0, (total - step) / (total - warmup))


def logits(model: "GPT2LMHeadModel", tokens: torch.Tensor, generator: Generator | None = None) -> torch.Tensor:
    """Next-token logits (B, T, V) for ``tokens`` (B, T), by Hugging Face's own forward pass.

    Dropout acts in ``train()`` mode and draws from ``generator``; there is no dropout without it.
    """
    usual = model.config._attn_implementation
    if model.training and model.config.attn_pdrop > 0:
        # The usual attention is one function of PyTorch, which draws its dropout by itself.
        model.set_attn_implementation("eager")
    with DrawnDropout(generator):
        result = model(tokens, use_cache=False).logits
    model.set_attn_implementation(usual)
    return result


def token_loss(
    model: "GPT2LMHeadModel",
    logits: Logits,
    tokens: torch.Tensor,
    target_table: torch.Tensor | None,
    generator: Generator | None = None,
) -> torch.Tensor:
    """Mean cross-entropy per predicted token of ``tokens`` (B, T); differentiable.

    ``target_table`` has the target of each token, None the next token. Dropout needs ``train()`` mode and a
    ``generator``.
    """
    found = logits(model, tokens, generator)
    if target_table is None:
        found, wanted = found[:, :-1], tokens[:, 1:]
    else:
        wanted = target_table[tokens]
    return F.cross_entropy(found.flatten(0, 1), wanted.flatten())


class GPT2Pretraining:
    """One pre-training, which can stop after any update and resume exactly, also in another process.

    ``batches(update)`` returns the integer tokens (B, T) of the 0-based ``update``; only :meth:`run` needs it.
    ``logits`` is the forward pass, for ``micro_batch`` sequences at a time to limit memory. A fast twin of the pass
    gives the same loss and gradients up to rounding; another ``micro_batch`` draws other dropout masks. Before the
    first update the model is an untrained GPT-2, from which the matched control of every DT table starts.
    """

    def __init__(
        self,
        config: GPT2PretrainingConfig,
        batches: Callable[[int], npt.ArrayLike] | None,
        logits: Logits = logits,
        micro_batch: int | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.config = config
        self.logits = logits
        self.device = device
        self.updates = 0
        self.losses: list[dict[str, float]] = []
        """One dict per LOG_EVERY updates: ``updates`` so far, and their mean ``loss`` in nats per token."""
        self._block: float | torch.Tensor = 0.0  # sum of the losses since the last dict
        self.batches: Any = batches
        self._micro_batch = micro_batch or default_micro_batch(config)
        from transformers import GPT2LMHeadModel  # here and below: the import takes seconds

        with _seeded(config.seed, 0):
            self.model: Any = GPT2LMHeadModel(huggingface_config(config)).to(device)  # type: ignore[arg-type]
        self.optimiser = TransformersAdamW(
            self.model.parameters(), config.learning_rate, eps=config.eps, weight_decay=config.weight_decay
        )
        self.target_table = mapping(config, device)

    def run(self, until: int, progress: Callable[[int], None] | None = None) -> None:
        """Train up to ``until`` updates in all; calls ``progress(updates)`` every LOG_EVERY updates.

        Raises ValueError when the run has made more updates already, FloatingPointError when a loss is NaN or infinite.
        """
        if until < self.updates:
            raise ValueError(f"this run has made {self.updates} updates and cannot go back to {until}: start a new one")
        while self.updates < until:
            self.add(self.update(self.batches(self.updates)))
            if self.updates % LOG_EVERY == 0 and progress is not None:
                progress(self.updates)

    def add(self, losses: float | torch.Tensor) -> None:
        """Add the sum of the ``losses`` of updates that are counted already. LOG_EVERY updates make a row of losses.

        Raises FloatingPointError when the mean of a row is NaN or infinite.
        """
        self._block += losses
        if self.updates % LOG_EVERY == 0:
            self.losses.append({"updates": self.updates, "loss": self._total() / LOG_EVERY})
            self._block = 0.0

    def update(self, tokens: npt.ArrayLike) -> torch.Tensor:
        """Make one update on ``tokens`` (B, T) and return its loss: a float64 scalar in nats per predicted token.

        Raises ValueError for tokens of another length or outside of the vocabulary.
        """
        tokens = self._checked(tokens)
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        with self.generators() as generators:
            for part, generator in zip(tokens.split(self._micro_batch), generators, strict=False):
                loss = self._loss(part, generator) * (len(part) / len(tokens))
                loss.backward()
                total += loss.detach()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.updates)
        self.optimiser.step()
        self.updates += 1
        return total

    @contextmanager
    def generators(self) -> Iterator[Iterator[Generator]]:
        """A context with the generators of dropout for the parts of the next update: one and the same for all parts.

        There is one per update, not per run, so that a resumed run needs no saved generator state.
        """
        with _seeded(self.config.seed, self.updates + 1, self.device) as generator:
            yield itertools.repeat(generator)

    @torch.no_grad()
    def validate(self, tokens: npt.ArrayLike) -> dict[str, float]:
        """{"updates", "loss", "perplexity"} on held-out sequences (n, T), without dropout."""
        tokens = self._checked(tokens)
        self.model.eval()
        total = sum(self._loss(part).item() * len(part) for part in tokens.split(self._micro_batch))
        loss = total / len(tokens)
        return {"updates": self.updates, "loss": loss, "perplexity": math.exp(loss)}

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy of the weights, {GPT-2 name: tensor}, for :func:`synthlib.dt.model.load_backbone`."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.model.transformer.state_dict().items()}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model in Hugging Face's format; ``GPT2LMHeadModel.from_pretrained(folder)`` reads it."""
        self.model.save_pretrained(folder)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, as numbers and tensors.

        Raises FloatingPointError when a loss is NaN or infinite: that state must not be saved.
        """
        return {
            "updates": self.updates,
            "model": self.weights(),
            # The moments of a stacked training are views, and torch.save would write all that they are views of.
            "optimiser": tree_map(_copied, self.optimiser.state_dict()),
            "losses": [dict(row) for row in self.losses],
            "block": self._total(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a value of :meth:`state_dict`."""
        self.model.transformer.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.updates, self._block = state["updates"], state["block"]
        self.losses = [dict(row) for row in state["losses"]]

    def _total(self) -> float:
        """The sum of the block's losses so far. Raises FloatingPointError when it is NaN or infinite."""
        total = float(self._block)
        if not math.isfinite(total):
            raise FloatingPointError(
                f"a loss before update {self.updates} is {total}; lower the learning rate ({self.config.learning_rate})"
            )
        return total

    def _loss(self, tokens: torch.Tensor, generator: Generator | None = None) -> torch.Tensor:
        return token_loss(self.model, self.logits, tokens, self.target_table, generator)

    def _checked(self, tokens: npt.ArrayLike) -> torch.Tensor:
        return put(self.device, torch.from_numpy(checked_tokens(self.config, tokens)))[0]


def checked_tokens(config: GPT2PretrainingConfig, tokens: npt.ArrayLike) -> np.ndarray:
    """``tokens`` (n, T) as int64. Raises ValueError for another length, and for tokens outside of the vocabulary."""
    checked = np.asarray(tokens, dtype=np.int64)
    length = config.sequence_length
    if checked.ndim != 2 or checked.shape[1] != length or not len(checked):
        raise ValueError(f"tokens have shape {checked.shape}, expected (n, {length}) with n > 0")
    low, high = checked.min().item(), checked.max().item()
    if low < 0 or high >= config.vocabulary:
        raise ValueError(f"tokens go from {low} to {high}; a vocabulary of {config.vocabulary} starts at 0")
    return checked


def default_micro_batch(config: GPT2PretrainingConfig, times: int = 1) -> int:
    """The number of sequences with at most 4096 tokens and 2^26 logits, at least 1: a few hundred MB of activations.

    With ``times`` the limits are so many times as high.
    """
    by_tokens = times * 4096 // config.sequence_length
    by_logits = times * 2**26 // (config.sequence_length * config.vocabulary)
    return min(config.batch_size, max(1, min(by_tokens, by_logits)))


def _copied(leaf: Any) -> Any:
    return leaf.detach().cpu().clone() if isinstance(leaf, torch.Tensor) else leaf


def huggingface_config(config: GPT2PretrainingConfig) -> "GPT2Config":
    """The ``GPT2Config`` of a :class:`GPT2PretrainingConfig`: ReLU, default initialisation, tied output head."""
    from transformers import GPT2Config

    outputs = 2 * config.vocabulary if config.objective == "mapping" else config.vocabulary
    return GPT2Config(
        vocab_size=outputs,
        n_positions=config.positions,
        n_embd=config.width,
        n_layer=config.layers,
        n_head=config.heads,
        activation_function="relu",
        resid_pdrop=config.dropout,
        embd_pdrop=config.dropout,
        attn_pdrop=config.dropout,
        bos_token_id=None,
        eos_token_id=None,
    )


def mapping(config: GPT2PretrainingConfig, device: torch.device = CPU) -> torch.Tensor | None:
    """The target of each token, int64 (vocabulary,), or None for the objective ``next_token``.

    ``identity``: the token itself. ``mapping``: a fixed one-to-one image in a second set of as many tokens.
    ``mapping_within``: a fixed permutation of the same tokens. The authors released no code for them. They are our
    reading of the paper's appendix F (faithfulness 1.13).
    """
    if config.objective == "next_token":
        return None
    if config.objective == "identity":
        return torch.arange(config.vocabulary, device=device)
    images = torch.from_numpy(np.random.default_rng(MAPPING_SEED).permutation(config.vocabulary)).to(device)
    return images + config.vocabulary if config.objective == "mapping" else images


@contextmanager
def _seeded(seed: int, stream: int, device: torch.device = CPU) -> Iterator[torch.Generator]:
    """A context with torch's global generator seeded, because Hugging Face draws from it; afterwards it is restored.

    Yields a separate generator on ``device`` with the same seed.
    """
    own = devices.generator(device, seed, stream)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(own.initial_seed())
        yield own
