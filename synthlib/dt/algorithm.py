"""What a study needs from the Decision Transformer (paper 3): the keys of its presets and arms, and its seeds.

Nothing here needs PyTorch; the code that trains is in :mod:`synthlib.dt.jobs`. An arm of a table may have these keys,
in addition to ``length``:

    pretraining: none         the published baseline, without pre-training
    pretraining_updates: n    instead of 20,000, or 80,000 on text; 0 is the matched control
    pretraining_seed: n       seed of the pre-trained weights and of their batches
    chain: {...}              fields of ChainConfig
    objective: name           identity, mapping or mapping_within instead of next_token
    text: wiki                pre-training on text instead of a chain
    generator: module:name    pre-training on tokens of a generator of one's own (synthlib.generators.registry)
    parameters: {...}         with generator: its parameters
    weights: folder           the weights of a GPT-2 that others trained, in Hugging Face's format (synthlib.dt.weights)
    loader_workers: n         with text: so many workers share the shuffled sequences and take turns (authors: 4)
    data_ratio: x             fine-tuned on this share of the trajectories
    exclude_lowest: false     draws also the trajectory with the lowest return, which the authors' loop leaves out
    target_return: x          raw return that evaluations ask for, instead of Table 10's; or {environment: return}
    model: {...}, training: {...}, gpt2: {...}
                              fields of DTConfig, DTTrainingConfig and GPT2PretrainingConfig
"""

from typing import Any

from synthlib.runs.job import Algorithm
from synthlib.runs.settings import (
    GENERATED_ARM,
    PRETRAINED_ARM,
    Setting,
    any_of,
    group,
    integer,
    mapping_of,
    number,
    one_of,
    text,
    yes_or_no,
)

# All 20 seeds of faithfulness 3.15. The authors' arms with three or five seeds used the first three or five of these.
_FIRST_SEEDS = (42, 666, 1024, 6049, 6331, 684, 2901, 3406, 3785, 4493)
SEEDS = (*_FIRST_SEEDS, 4598, 5575, 5599, 6183, 7127, 7282, 7929, 8958, 9051, 9329)
CHAIN_UPDATES = 20_000  # paper 3.3
TEXT_UPDATES = 80_000  # Table 9; the Wiki model is the last checkpoint of its pre-training

_RATE, _SHARE_DROPPED, _FROM_ZERO = number(above=0), number(least=0, most=0.99), number(least=0)
_OBJECTIVE = one_of("next_token", "identity", "mapping", "mapping_within")
_TEXTS = ("small-wiki", "wikitext-103", "none")
_PRESET = {
    "warmup_updates": integer(1),
    "pretraining_scale": number(above=0),
    "pretraining_batch_size": integer(1),
    "pretraining_sequence_length": integer(2, 1024),
    "pretraining_learning_rate": _RATE,
    "pretraining_sequences": integer(1),
    "validation_sequences": integer(1),
    "text": Setting(
        f"{', '.join(_TEXTS)} or path:DIR",
        lambda text: isinstance(text, str) and (text in _TEXTS or (text.startswith("path:") and text != "path:")),
    ),
    "text_vocabulary": integer(257),
}
_CHAIN = {
    "kind": one_of("chain", "iid"),
    "order": integer(1),
    "states": integer(2),
    "temperature": _RATE,
    "length": integer(2),
    "seed": integer(0),
    "initial": one_of("authors", "uniform"),
    "rows": one_of("authors", "legacy"),
}
_MODEL = {
    **dict.fromkeys(("width", "layers", "heads", "timesteps", "context", "time_limit"), integer(1)),
    **dict.fromkeys(("wpe_as_time_embedding", "tied_projections", "time_before_norm"), yes_or_no()),
    **dict.fromkeys(("residual_dropout", "attention_dropout", "embedding_dropout"), _SHARE_DROPPED),
    "return_scale": _RATE,
}
_TRAINING = {
    **dict.fromkeys(("learning_rate", "gradient_clip", "eps"), _RATE),
    **dict.fromkeys(("weight_decay", "cluster_weight"), _FROM_ZERO),
    **dict.fromkeys(("warmup_updates", "batch_size"), integer(1)),
    "decayed": one_of("all", "not_backbone"),
    "time_embedding_steps": integer(0),
}
_GPT2 = {
    "objective": _OBJECTIVE,
    **dict.fromkeys(("vocabulary", "sequence_length", "positions"), integer(2)),
    **dict.fromkeys(("batch_size", "width", "layers", "heads", "warmup_updates", "schedule_speedup"), integer(1)),
    "schedule_updates": integer(2),
    **dict.fromkeys(("learning_rate", "eps"), _RATE),
    "weight_decay": _FROM_ZERO,
    "dropout": _SHARE_DROPPED,
    "decay": one_of("linear", "constant"),
    "seed": integer(0),
}


def _pretraining_updates(arm: dict[str, Any]) -> int:
    if "weights" in arm:
        return 0  # nobody knows how many there were
    return TEXT_UPDATES if "text" in arm else CHAIN_UPDATES


ALGORITHM = Algorithm(
    name="dt",
    seeds=SEEDS,
    preset_keys=_PRESET,
    arm_keys=PRETRAINED_ARM
    | GENERATED_ARM
    | {"chain": group(_CHAIN), "objective": _OBJECTIVE, "text": one_of("wiki"), "loader_workers": integer(1)}
    | {"weights": text()}
    | {"exclude_lowest": yes_or_no(), "target_return": any_of(number(), mapping_of(number()))}
    | {"model": group(_MODEL), "training": group(_TRAINING), "gpt2": group(_GPT2)},
    pretraining_updates=_pretraining_updates,
    plotted_loss="train_loss",
    target_over=1,  # faithfulness 3.19
    code="synthlib.dt.jobs",
)
