"""Pre-training of the Decision Transformer's backbone: GPT-2 on tokens, as a language model (faithfulness section 2).

The model is Hugging Face's own GPT-2 at the paper's size (Table 9), so that any run here can be read by plain
``transformers`` and any GPT-2 of that shape can be fine-tuned here. Tokens come from a Markov chain, from text, or
from anywhere else: a function from the number of an update to its (B, T) integer tokens is enough
(:mod:`synthlib.dt.token_batches`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from synthlib.machine import devices
from synthlib.machine.devices import CPU, put

if TYPE_CHECKING:  # importing it takes seconds, and only pre-training needs it
    from transformers import GPT2Config, GPT2LMHeadModel

OBJECTIVES = ("next_token", "identity", "mapping", "mapping_within")
MAPPING_SEED = 666
LOG_EVERY = 10
Logits = Callable[..., torch.Tensor]
"""The forward pass of a pre-training: :func:`logits` or its fast twin."""


@dataclass(frozen=True)
class GPT2PretrainingConfig:
    """The defaults are the paper's Table 9, with what the released code adds to it."""

    vocabulary: int
    """Number of different tokens; there are no special ones."""
    objective: str = "next_token"
    sequence_length: int = 1024
    batch_size: int = 64
    width: int = 128
    layers: int = 3
    heads: int = 1
    positions: int = 1024
    dropout: float = 0.1
    seed: int = 0
    """Of initial weights and dropout. The authors left both unseeded and have one model per setting."""
    learning_rate: float = 3e-4
    warmup_updates: int = 10_000
    schedule_updates: int = 80_000
    """Where the rate reaches 0. Part of a run's identity: the paper's 20K models are 80K runs cut at 20K."""
    decay: str = "linear"
    """Table 9 names the warm-up only; the code decays ("linear"). "constant" is the table's wording."""
    schedule_speedup: int = 1
    """2 is the authors' two-process launcher, which advanced the schedule twice per update (faithfulness 2.5)."""
    weight_decay: float = 0.01
    eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.objective not in OBJECTIVES:
            raise ValueError(f"objective={self.objective!r} is unknown; choose one of {', '.join(OBJECTIVES)}")
        if self.decay not in ("linear", "constant"):
            raise ValueError(f"decay={self.decay!r} is unknown; choose linear or constant")
        if self.sequence_length > self.positions:
            raise ValueError(f"{self.sequence_length} tokens do not fit into {self.positions} positions")


class TransformersAdamW(torch.optim.Optimizer):
    """AdamW as the Transformers library had it until version 4: two differences from PyTorch's.

    ``eps`` is added to the square root of the *uncorrected* second moment, and the decay multiplies the weights after
    the step instead of before it. Decay acts on every parameter, biases and layer norms too.
    """

    def __init__(
        self,
        parameters: Iterable[torch.nn.Parameter],
        lr: float,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """One step from the gradients; a closure is not called."""
        for group in self.param_groups:
            (beta_1, beta_2), rate = group["betas"], group["lr"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if not state:
                    state.update(step=0, first=torch.zeros_like(parameter), second=torch.zeros_like(parameter))
                state["step"] += 1
                first, second = state["first"], state["second"]
                first.lerp_(parameter.grad, 1 - beta_1)
                second.mul_(beta_2).addcmul_(parameter.grad, parameter.grad, value=1 - beta_2)
                correction = math.sqrt(1 - beta_2 ** state["step"]) / (1 - beta_1 ** state["step"])
                parameter.addcdiv_(first, second.sqrt().add_(group["eps"]), value=-rate * correction)
                parameter.mul_(1 - rate * group["weight_decay"])


def learning_rate(config: GPT2PretrainingConfig, update: int) -> float:
    """The rate of 0-based ``update``: linear from 0 over the warm-up (the first update moves nothing), then to 0."""
    step, warmup, total = config.schedule_speedup * update, config.warmup_updates, config.schedule_updates
    if step < warmup:
        return config.learning_rate * step / warmup
    if config.decay == "constant":
        return config.learning_rate
    return config.learning_rate * max(0.0, (total - step) / (total - warmup))


def logits(model: "GPT2LMHeadModel", tokens: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
    """Next-token logits (B, T, V) for ``tokens`` (B, T), by Hugging Face's own forward pass.

    Dropout acts in ``train()`` mode. Hugging Face draws it from torch's global generator; ``generator`` is for the fast
    twin, which draws from there and only where it is given.
    """
    return model(tokens, use_cache=False).logits


class GPT2Pretraining:
    """One pre-training run, which can stop anywhere and go on exactly, also in another process.

    ``batches(update)`` gives the integer tokens (B, T) of 0-based ``update``; only :meth:`run` needs it. ``logits`` is
    the forward pass, and ``micro_batch`` sequences are held in memory at a time. A fast twin of the pass or another
    ``micro_batch`` gives the same loss and gradients, but other dropout masks. Before the first update the weights are
    those of an untrained GPT-2: what the matched control of every DT table starts from.
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
        """One dict per LOG_EVERY updates: ``updates`` so far and the block's mean ``loss`` in nats per token."""
        self._block: float | torch.Tensor = 0.0
        self._batches: Any = batches
        self._micro_batch = micro_batch or default_micro_batch(config)
        from transformers import GPT2LMHeadModel  # here and below: takes seconds, and only pre-training needs it

        with _seeded(config.seed, 0):
            self.model: Any = GPT2LMHeadModel(huggingface_config(config)).to(device)  # type: ignore[arg-type]
        self._optimiser = TransformersAdamW(
            self.model.parameters(), config.learning_rate, eps=config.eps, weight_decay=config.weight_decay
        )
        self._target_table = mapping(config, device)

    def run(self, until: int, progress: Callable[[int], None] | None = None) -> None:
        """Train up to ``until`` updates in all; ``progress(updates)`` is called every LOG_EVERY updates.

        Raises ValueError when the run is already further, FloatingPointError when the loss is NaN or infinite.
        """
        if until < self.updates:
            raise ValueError(f"this run has made {self.updates} updates and cannot go back to {until}: start a new one")
        while self.updates < until:
            self._block += self.update(self._batches(self.updates))
            if self.updates % LOG_EVERY == 0:
                self.losses.append({"updates": self.updates, "loss": self._total() / LOG_EVERY})
                self._block = 0.0
                if progress is not None:
                    progress(self.updates)

    def update(self, tokens: npt.ArrayLike) -> torch.Tensor:
        """One update on ``tokens`` (B, T); returns the loss before it, a float64 scalar in nats per predicted token."""
        tokens = self._checked(tokens)
        self.model.train()
        self.model.zero_grad(set_to_none=True)
        total = torch.zeros((), dtype=torch.float64, device=self.device)
        # A generator per update, not per run: so a resumed run needs no saved generator state.
        with _seeded(self.config.seed, self.updates + 1, self.device) as generator:
            for part in tokens.split(self._micro_batch):
                loss = self._loss(part, generator) * (len(part) / len(tokens))
                loss.backward()
                total += loss.detach()
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.config, self.updates)
        self._optimiser.step()
        self.updates += 1
        return total

    @torch.no_grad()
    def validate(self, tokens: npt.ArrayLike) -> dict[str, float]:
        """{"updates", "loss", "perplexity"} on held-out sequences (n, T), without dropout."""
        tokens = self._checked(tokens)
        self.model.eval()
        total = sum(self._loss(part).item() * len(part) for part in tokens.split(self._micro_batch))
        loss = total / len(tokens)
        return {"updates": self.updates, "loss": loss, "perplexity": math.exp(loss)}

    def weights(self) -> dict[str, torch.Tensor]:
        """A copy as {GPT-2 name: tensor}, for ``load_backbone`` of the Decision Transformer."""
        return {name: tensor.detach().cpu().clone() for name, tensor in self.model.transformer.state_dict().items()}

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model as Hugging Face does; ``GPT2LMHeadModel.from_pretrained(folder)`` reads it."""
        self.model.save_pretrained(folder)

    def state_dict(self) -> dict[str, Any]:
        """Everything that the next update depends on, as numbers and tensors."""
        return {
            "updates": self.updates,
            "model": self.weights(),
            "optimiser": self._optimiser.state_dict(),
            "losses": [dict(row) for row in self.losses],
            "block": self._total(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state_dict` gave."""
        self.model.transformer.load_state_dict(state["model"])
        self._optimiser.load_state_dict(state["optimiser"])
        self.updates, self._block = state["updates"], state["block"]
        self.losses = [dict(row) for row in state["losses"]]

    def _total(self) -> float:
        """The sum of the block's losses so far; FloatingPointError when it is NaN or infinite, before it is saved."""
        total = float(self._block)
        if not math.isfinite(total):
            raise FloatingPointError(
                f"a loss before update {self.updates} is {total}; lower the learning rate ({self.config.learning_rate})"
            )
        return total

    def _loss(self, tokens: torch.Tensor, generator: torch.Generator | None = None) -> torch.Tensor:
        """Mean cross-entropy; dropout acts in ``train()`` mode with a ``generator``."""
        logits = self.logits(self.model, tokens, generator)
        if self._target_table is None:
            logits, wanted = logits[:, :-1], tokens[:, 1:]
        else:
            wanted = self._target_table[tokens]
        return F.cross_entropy(logits.flatten(0, 1), wanted.flatten())

    def _checked(self, tokens: npt.ArrayLike) -> torch.Tensor:
        tokens = torch.as_tensor(np.asarray(tokens, dtype=np.int64))
        length = self.config.sequence_length
        if tokens.ndim != 2 or tokens.shape[1] != length or not len(tokens):
            raise ValueError(f"tokens have shape {tuple(tokens.shape)}, expected (n, {length}) with n > 0")
        low, high = tokens.min().item(), tokens.max().item()
        if low < 0 or high >= self.config.vocabulary:
            raise ValueError(f"tokens go from {low} to {high}; a vocabulary of {self.config.vocabulary} starts at 0")
        return put(self.device, tokens)[0]


def default_micro_batch(config: GPT2PretrainingConfig) -> int:
    """As many sequences as make 4096 tokens and 2^26 logits, but one at least: a few hundred MB of activations."""
    by_tokens = 4096 // config.sequence_length
    by_logits = 2**26 // (config.sequence_length * config.vocabulary)
    return min(config.batch_size, max(1, min(by_tokens, by_logits)))


def huggingface_config(config: GPT2PretrainingConfig) -> "GPT2Config":
    """The ``GPT2Config`` of a :class:`GPT2PretrainingConfig`: ReLU, untouched initialisation, tied output head."""
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
    """What each token has to be answered with (vocabulary,), or None when the next token is to be predicted.

    ``identity``: itself. ``mapping``: a fixed one-to-one image among as many further tokens; ``mapping_within``: among
    the same tokens. The authors released neither; these are readings of the paper's appendix F (faithfulness 1.13).
    """
    if config.objective == "next_token":
        return None
    if config.objective == "identity":
        return torch.arange(config.vocabulary, device=device)
    images = torch.from_numpy(np.random.default_rng(MAPPING_SEED).permutation(config.vocabulary)).to(device)
    return images + config.vocabulary if config.objective == "mapping" else images


def read_weights(folder: str | Path) -> dict[str, torch.Tensor]:
    """{GPT-2 name: tensor} of any GPT-2 that Hugging Face's ``save_pretrained`` wrote to ``folder``.

    Raises OSError, as ``transformers`` does, when there is no model.
    """
    from transformers import GPT2LMHeadModel

    return dict(GPT2LMHeadModel.from_pretrained(folder).transformer.state_dict())


@contextmanager
def _seeded(seed: int, stream: int, device: torch.device = CPU) -> Iterator[torch.Generator]:
    """Hugging Face draws from torch's global generator: seed it for the body, and put it back; gives a generator of
    its own with the same seed."""
    own = devices.generator(device, seed, stream)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(own.initial_seed())
        yield own
