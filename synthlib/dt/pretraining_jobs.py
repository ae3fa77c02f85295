"""Pre-training of GPT-2 as a job of the store: one training per chain or text and seed, kept at Table 5's checkpoints.

Everything that a preset scales down (updates, sequences per update, their length, the learning rate) is written into
the job, so that a small pre-training is never mistaken for the paper's pre-training.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from synthlib.dt import cost, flops, memory
from synthlib.dt.algorithm import ALGORITHM, CHAIN_UPDATES, TEXT_UPDATES
from synthlib.dt.dropout import DROPOUT
from synthlib.dt.pretraining import LOG_EVERY, GPT2Pretraining, GPT2PretrainingConfig, huggingface_config, logits
from synthlib.dt.pretraining_column import ColumnOfGPT2
from synthlib.dt.token_batches import shuffled_batches, stream_batches
from synthlib.dt.weights import find_weights, load_trunk, read_weights
from synthlib.generators import markov_chain, text
from synthlib.generators.drawn import tokens
from synthlib.generators.markov_chain import ChainConfig, stream
from synthlib.generators.registry import Generated, generated_by, try_out
from synthlib.generators.text import (
    GPT2_VOCABULARY,
    SMALL_WIKI,
    gpt2_tokenizer,
    load_corpus,
    token_rows,
    train_tokenizer,
)
from synthlib.kernels.twins import best
from synthlib.machine.cached import kept_arrays
from synthlib.machine.devices import CPU, chosen
from synthlib.paths import data_cache
from synthlib.runs.groups import Pretrainings
from synthlib.runs.identity import as_dict, identity_of, versioned
from synthlib.runs.job import Job, Training
from synthlib.runs.loop import scaled_checkpoints

if TYPE_CHECKING:
    import pandas as pd

    from synthlib.runs.store import Store

CHECKPOINTS = (1_000, 10_000, 20_000, 40_000, 60_000, 80_000)  # Table 5
WARMUP_UPDATES, SCHEDULE_UPDATES = 10_000, 80_000  # Table 9
VALIDATIONS = 80  # in a whole schedule
_CORPORA = {"small-wiki": "a small Wikipedia (not the paper's text)", "wikitext-103": "WikiText-103"}
_MODEL_FIELDS = ("width", "layers", "heads")
_OF_A_PRETRAINING = {"chain", "generator", "gpt2", "loader_workers", "objective", "parameters", "text"}


def pretraining_job(arm: dict[str, Any], settings: dict[str, Any]) -> Job:
    """Job of the pre-training that ``arm`` (an entry of a table's ``arms``) starts from.

    Another ``pretraining_seed`` draws other sequences from the same chain; the chain's own seed stays 666. Raises
    ValueError for settings that contradict each other, TypeError for an unknown field.
    """
    if "weights" in arm:
        return _foreign_job(arm)
    seed, scale = arm.get("pretraining_seed", 0), settings["pretraining_scale"]
    length = settings["pretraining_sequence_length"]
    if "text" in arm:
        if arm["text"] != "wiki" or {"chain", "generator", "objective"} & arm.keys():
            raise ValueError(f"pre-training on text is text: wiki, without chain, generator or objective; not {arm}")
        vocabulary = settings["text_vocabulary"]
        data = {"text": _text_identity(settings["text"]), "vocabulary": vocabulary}
        if (workers := arm.get("loader_workers", 1)) != 1:  # left out of the identity of older runs
            data["loader_workers"] = workers
    elif "loader_workers" in arm:
        raise ValueError("loader_workers is for text: a chain's sequences are independent, in whatever order they come")
    elif "generator" in arm:
        if "chain" in arm:
            raise ValueError("an arm has a chain or a generator, not both: leave one out")
        # No more than a whole schedule reads, and the held-out sequences after them.
        read = min(
            settings["pretraining_sequences"], round(SCHEDULE_UPDATES * scale) * settings["pretraining_batch_size"]
        )
        generated = generated_by(
            arm, "token", seed, max(read, settings["pretraining_batch_size"]) + settings["validation_sequences"]
        )
        try_out(generated, length)
        vocabulary = generated.parameters["vocabulary"]
        data = {"generated": asdict(generated)}
    elif "parameters" in arm:
        raise ValueError("parameters are those of a generator: name it with generator: my_module:name")
    else:
        chain = ChainConfig(**{"length": length} | arm.get("chain", {}))
        vocabulary = chain.states
        data = {"chain": identity_of(chain), "seed": seed, "sequences": settings["pretraining_sequences"]}
        data |= versioned(markov_chain.VERSION)
    model = {name: value for name, value in arm.get("model", {}).items() if name in _MODEL_FIELDS}
    fields = {
        "vocabulary": vocabulary,
        "objective": arm.get("objective", "next_token"),
        "sequence_length": length,
        "batch_size": settings["pretraining_batch_size"],
        "learning_rate": settings["pretraining_learning_rate"],
        "warmup_updates": max(1, round(WARMUP_UPDATES * scale)),
        "schedule_updates": max(2, round(SCHEDULE_UPDATES * scale)),
        "seed": seed,
    }
    config = {
        "gpt2": as_dict(GPT2PretrainingConfig(**fields | model | arm.get("gpt2", {}))),
        "data": data,
        "validation_sequences": settings["validation_sequences"],
    }
    default = TEXT_UPDATES if "text" in arm else CHAIN_UPDATES
    updates, keep = scaled_checkpoints(arm.get("pretraining_updates", default), CHECKPOINTS, scale)
    return Job("gpt2_pretraining", config, updates, keep=keep, algorithm=ALGORITHM.name)


def _foreign_job(arm: dict[str, Any]) -> Job:
    """Job of an arm with ``weights``: it trains nothing, and keeps in the store what it reads.

    With ``pretraining_updates: 0`` it is the matched control: the random weights of an untrained GPT-2 of this shape.
    Nothing of a preset is part of it.
    """
    if pointless := sorted(_OF_A_PRETRAINING & arm.keys()):
        raise ValueError(f"weights are taken as they are: an arm with them cannot have {', '.join(pointless)} as well")
    updates, found = arm.get("pretraining_updates"), find_weights(arm["weights"])
    if updates not in (None, 0):
        raise ValueError("weights are taken as they are; pretraining_updates can only be 0, for their matched control")
    if updates is None and "pretraining_seed" in arm:
        raise ValueError("weights are taken as they are: pretraining_seed is for their matched control")
    shape: dict[str, Any] = found.shape | {
        "sequence_length": min(GPT2PretrainingConfig.sequence_length, found.shape["positions"])
    }
    data: dict[str, Any] = {"untrained": True}
    if updates is None:
        data = {"weights": {"sha256": found.sha256, "activation": found.activation}}
    gpt2 = GPT2PretrainingConfig(**shape, seed=arm.get("pretraining_seed", 0))
    config = {"gpt2": asdict(gpt2), "data": data, "validation_sequences": 0}
    context = {"folder": str(found.folder)} if updates is None else {}
    return Job("gpt2_pretraining", config, 0, keep=(0,), context=context, algorithm=ALGORITHM.name)


def start_pretraining(job: Job, store: "Store | None" = None) -> GPT2Pretraining:
    """The GPT-2 of a "gpt2_pretraining" job before its first update.

    Its rows of losses have ``loss`` every 10 updates. 80 times in a whole schedule they also have ``validation_loss``
    and ``validation_perplexity``, on held-out sequences.
    """
    config = GPT2PretrainingConfig(**job.config["gpt2"])
    if job.updates == 0 and {"untrained", "weights"} & job.config["data"].keys():
        training = GPT2Pretraining(config, None, device=chosen())
        if "weights" in job.config["data"]:
            read = read_weights(Path(job.context["folder"]), job.config["data"]["weights"]["sha256"])
            load_trunk(training.model.transformer, read)
        return training
    batches, held_out = _tokens(job.config, config)
    every = max(1, config.schedule_updates // VALIDATIONS)
    return _Validated(config, batches, held_out, every, int(job.key, 16))


def describe_pretraining(config: dict[str, Any]) -> str:
    """A short description of a pre-training's data, from its job's ``config``: for progress lines and captions."""
    data, objective = config["data"], config["gpt2"]["objective"]
    if "weights" in data:
        digits, activation = data["weights"]["sha256"][:8], data["weights"]["activation"]
        relu = "" if activation == "relu" else f", trained with {activation}, used with relu"
        return f"weights {digits} of somebody else, {config['gpt2']['vocabulary']:,} tokens{relu}"
    if "untrained" in data:
        return f"an untrained GPT-2, {config['gpt2']['vocabulary']:,} tokens"
    if "text" in data:
        corpus = data["text"]["corpus"]
        return f"{_CORPORA.get(corpus, corpus)}, a vocabulary of {data['vocabulary']:,}"
    if "generated" in data:
        words = str(Generated(**data["generated"]))
        return words if objective == "next_token" else f"{words}, {objective}"
    chain = data["chain"]
    words = f"{chain['states']:,} states"
    if chain["kind"] == "iid":
        words += ", iid"
    else:
        words += f", order {chain['order']}, temperature {chain['temperature']:g}"
        words += ", legacy rows" if chain.get("rows") == "legacy" else ""
    return words if objective == "next_token" else f"{words}, {objective}"


class _Validated(GPT2Pretraining):
    """A pre-training that also validates itself, on ``held_out`` (n, T), when it stops at a multiple of ``every``.

    The results go into the rows of ``losses``. ``key`` names its dropout in a column.
    """

    def __init__(
        self,
        config: GPT2PretrainingConfig,
        batches: Callable[[int], np.ndarray],
        held_out: np.ndarray,
        every: int,
        key: int,
    ) -> None:
        super().__init__(config, batches, best(logits, config), device=chosen())
        self._held_out, self.every, self.key = held_out, every, key

    def run(self, until: int, progress: Callable[[int], None] | None = None) -> None:
        super().run(until)
        if self.updates % self.every == 0:
            self.validate_now()
        if progress is not None and self.updates % LOG_EVERY == 0:  # it may end the run: the row is complete
            progress(self.updates)

    def validate_now(self) -> None:
        """Validate, and enter the result into the present row of ``losses``."""
        found = self.validate(self._held_out)
        if not self.losses or self.losses[-1]["updates"] != self.updates:
            self.losses.append({"updates": self.updates, "loss": math.nan})
        self.losses[-1] |= {"validation_loss": found["loss"], "validation_perplexity": found["perplexity"]}


def _tokens(config: dict[str, Any], gpt2: GPT2PretrainingConfig) -> tuple[Callable[[int], np.ndarray], np.ndarray]:
    """(batches, held-out sequences (n, T)) of a pre-training on a chain or on text; ``config`` is its job's."""
    data, held_out = config["data"], config["validation_sequences"]
    if "text" in data:
        if _text_identity(data["text"]["corpus"]) != data["text"]:
            raise ValueError(f"{data['text']['corpus']} changed while its runs were being planned; start again")
        training, validation = _text_rows(data["text"]["corpus"], data["vocabulary"], gpt2.sequence_length)
        workers = data.get("loader_workers", 1)
        return shuffled_batches(training, gpt2.batch_size, workers=workers), validation[:held_out]
    if "generated" in data:
        rows = tokens(Generated(**data["generated"]), gpt2.sequence_length)
        training, validation = rows[:-held_out], rows[-held_out:]
        return stream_batches(
            lambda first, count: training[first : first + count], gpt2.batch_size, len(training)
        ), validation
    chain = ChainConfig(**data["chain"])

    def sequences(first: int, count: int) -> np.ndarray:
        return best(stream, chain)(chain, data["seed"], range(first, first + count))

    # As in the authors' file, the sequences after the training sequences are held out (faithfulness 1.7).
    rows = data["sequences"]
    return stream_batches(sequences, gpt2.batch_size, rows), sequences(rows, held_out)


@cache
def _text_identity(source: str) -> dict[str, Any]:
    """The identity of a corpus in a job's config. Only a folder of the user has to be read for it."""
    checksum = None  # WikiText-103 has a version in its name
    if source == "small-wiki":
        checksum = SMALL_WIKI.sha256
    elif source.startswith("path:"):
        checksum = load_corpus(source, data_cache()).checksum
    return {"corpus": source, "checksum": checksum} | versioned(text.VERSION)


def _text_rows(source: str, vocabulary: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Token sequences for training and validation, int32 (R, length) each; cached on disk, WikiText-103 takes minutes.

    With ``vocabulary`` 50,257 GPT-2's own tokenizer is used; otherwise a tokenizer is trained on this text.
    """
    name = json.dumps([_text_identity(source), vocabulary, length], sort_keys=True)
    path = data_cache() / "text" / f"{hashlib.sha256(name.encode()).hexdigest()[:16]}.npz"

    def make() -> dict[str, np.ndarray]:
        corpus = load_corpus(source, data_cache())
        own = vocabulary != GPT2_VOCABULARY
        tokenizer = train_tokenizer(corpus.training, vocabulary) if own else gpt2_tokenizer(data_cache())
        parts = (token_rows(tokenizer, lines, length) for lines in (corpus.training, corpus.validation))
        return dict(zip(("training", "validation"), parts, strict=True))

    columns = kept_arrays(path, make)
    return columns["training"], columns["validation"]


def _curve(job: Job, losses: "pd.DataFrame") -> "tuple[str, pd.Series]":
    """(name of the scale, cross-entropy per token in nats); losses compare only for the same vocabulary size."""
    return f"{job.config['gpt2']['vocabulary']} tokens", losses["loss"]


def _huggingface(job: Job) -> dict[str, Any]:
    """``config.json`` of the GPT-2, as transformers reads it."""
    config: dict[str, Any] = huggingface_config(GPT2PretrainingConfig(**job.config["gpt2"])).to_dict()
    if "weights" in job.config["data"]:
        config["activation_function"] = job.config["data"]["weights"]["activation"]
    return config | {"architectures": ["GPT2Model"]}


def _together(trainings: Sequence[_Validated]) -> Pretrainings:
    """On a GPU a column, of one pre-training too. Its dropout needs the forward pass for one head."""
    if chosen() == CPU or trainings[0].config.heads > 1:
        return Pretrainings(trainings)
    keys = [training.key for training in trainings]
    return ColumnOfGPT2(trainings, keys, trainings[0].every, _Validated.validate_now)


def _facts_together() -> dict[str, str]:
    return {} if chosen() == CPU else {"dropout": DROPOUT}


def _alike(job: Job) -> dict[str, Any]:
    """On a GPU the settings of the network; seeds and data may differ. A processor trains one after the other."""
    if chosen() == CPU:
        return job.config
    return {name: value for name, value in job.config["gpt2"].items() if name != "seed"}


PRETRAINING = Training(
    kind="gpt2_pretraining",
    start=start_pretraining,
    describe=lambda job: f"GPT-2 pre-training ({describe_pretraining(job.config)}, {job.updates} updates)",
    operations=flops.pretraining,
    seconds=cost.pretraining_seconds,
    weights=lambda training: training.weights(),
    together=_together,
    facts_together=_facts_together,
    alike=_alike,
    curve=_curve,
    huggingface=_huggingface,
    memory=memory.pretraining,
    bench_line="gpt2",
)
