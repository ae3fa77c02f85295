"""CQL as a study sees it (paper 4, A.2): the keys that presets and tables may set for it, and its seeds.

Nothing here needs PyTorch; the trainings are in :mod:`synthlib.cql.jobs`. An arm of a table may set, beside ``length``:

    pretraining: none         the published baseline, without pre-training
    pretraining_updates: n    number of updates, instead of 100,000; 0 is the matched control
    pretraining_seed: n       seed of the critics' initial weights, instead of 42; data and batches stay the same
    mdp: {...}, cql: {...}    fields of MDPConfig and CQLConfig
    critic_weights: {...}     fields of WeightControl: only the size of the pre-trained weights is kept
    data_ratio: x             share of the transitions that the fine-tuning reads
"""

from synthlib.runs.job import Algorithm

# The fine-tuning seeds of the authors' scripts. Table 16 prints 1042 where the scripts have 1024 (faithfulness 6.5).
SEEDS = (42, 666, 1024, 2048, 4069, *range(15))
PRETRAINING_UPDATES = 100_000  # paper 4.2

ALGORITHM = Algorithm(
    name="cql",
    seeds=SEEDS,
    preset_keys=frozenset({"pretraining_scale", "mdp_trajectories"}),
    arm_keys=frozenset({"pretraining", "pretraining_updates", "pretraining_seed", "mdp", "cql", "data_ratio"})
    | {"critic_weights"},
    pretraining_updates=lambda arm: PRETRAINING_UPDATES,
    plotted_loss="combined_loss_last_minibatch",  # faithfulness 6.6
    target_over=4,  # faithfulness 6.8
    code="synthlib.cql.jobs",
)
