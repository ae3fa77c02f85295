"""CQL as a study sees it (paper 4, A.2): what presets and tables may say about it, and its seeds.

Nothing here needs PyTorch; :mod:`synthlib.cql.jobs` has what trains. An arm of a table may say, beside ``length``:

    pretraining: none         the published baseline, without pre-training
    pretraining_updates: n    in place of 100,000; 0 is the matched control
    pretraining_seed: n       of the pre-trained weights and their batches
    mdp: {...}, cql: {...}    fields of MDPConfig and CQLConfig
    data_ratio: x             fine-tuned on this share of the transitions
"""

from synthlib.runs.job import Algorithm

# The fine-tuning seeds of the authors' scripts. Table 16 prints 1042 where the scripts have 1024 (faithfulness 6.5).
SEEDS = (42, 666, 1024, 2048, 4069, *range(15))
PRETRAINING_UPDATES = 100_000  # paper 4.2

ALGORITHM = Algorithm(
    name="cql",
    seeds=SEEDS,
    preset_keys=frozenset({"pretraining_scale", "mdp_trajectories"}),
    arm_keys=frozenset({"pretraining", "pretraining_updates", "pretraining_seed", "mdp", "cql", "data_ratio"}),
    pretraining_updates=lambda arm: PRETRAINING_UPDATES,
    plotted_loss="combined_loss_last_minibatch",  # faithfulness 6.6
    target_over=4,  # faithfulness 6.8
    code="synthlib.cql.jobs",
)
