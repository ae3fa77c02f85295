"""What a study needs from the Decision Transformer (paper 3): the keys of its presets and arms, and its seeds.

Nothing here needs PyTorch; the code that trains is in :mod:`synthlib.dt.jobs`. An arm of a table may have these keys,
in addition to ``length``:

    pretraining: none         the published baseline, without pre-training
    pretraining_updates: n    instead of 20,000, or 80,000 on text; 0 is the matched control
    pretraining_seed: n       seed of the pre-trained weights and of their batches
    chain: {...}              fields of ChainConfig
    objective: name           identity, mapping or mapping_within instead of next_token
    text: wiki                pre-training on text instead of a chain
    data_ratio: x             fine-tuned on this share of the trajectories
    exclude_lowest: false     draws also the trajectory with the lowest return, which the authors' loop leaves out
    model: {...}, training: {...}, gpt2: {...}
                              fields of DTConfig, DTTrainingConfig and GPT2PretrainingConfig
"""

from synthlib.runs.job import Algorithm

# All 20 seeds of faithfulness 3.15. The authors' arms with three or five seeds used the first three or five of these.
_FIRST_SEEDS = (42, 666, 1024, 6049, 6331, 684, 2901, 3406, 3785, 4493)
SEEDS = (*_FIRST_SEEDS, 4598, 5575, 5599, 6183, 7127, 7282, 7929, 8958, 9051, 9329)
CHAIN_UPDATES = 20_000  # paper 3.3
TEXT_UPDATES = 80_000  # Table 9; the Wiki model is the last checkpoint of its pre-training

ALGORITHM = Algorithm(
    name="dt",
    seeds=SEEDS,
    preset_keys=frozenset({"warmup_updates", "text", "text_vocabulary"})
    | {"pretraining_scale", "pretraining_batch_size", "pretraining_sequence_length", "pretraining_learning_rate"}
    | {"pretraining_sequences", "validation_sequences"},
    arm_keys=frozenset({"pretraining", "pretraining_updates", "pretraining_seed", "chain", "objective", "text"})
    | {"data_ratio", "exclude_lowest", "model", "training", "gpt2"},
    pretraining_updates=lambda arm: TEXT_UPDATES if "text" in arm else CHAIN_UPDATES,
    plotted_loss="train_loss",
    target_over=1,  # faithfulness 3.19
    code="synthlib.dt.jobs",
)
