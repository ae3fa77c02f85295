"""CQL as a study sees it (paper 4, A.2): the keys that presets and tables may set for it, and its seeds.

Nothing here needs PyTorch; the trainings are in :mod:`synthlib.cql.jobs`. An arm of a table may set, beside ``length``:

    pretraining: none         the published baseline, without pre-training
    pretraining_updates: n    number of updates, instead of 100,000; 0 is the matched control
    pretraining_seed: n       seed of the critics' initial weights, instead of 42; data and batches stay the same
    mdp: {...}, cql: {...}    fields of MDPConfig and CQLConfig
    generator: module:name    transitions of a generator of one's own (synthlib.generators.registry) instead of an MDP's
    parameters: {...}         with generator: its parameters
    critic_weights: {...}     fields of WeightControl: only the size of the pre-trained weights is kept
    data_ratio: x             share of the transitions that the fine-tuning reads
"""

from synthlib.runs.job import Algorithm
from synthlib.runs.settings import GENERATED_ARM, PRETRAINED_ARM, group, integer, list_of, number, one_of, yes_or_no

# The fine-tuning seeds of the authors' scripts. Table 16 prints 1042 where the scripts have 1024 (faithfulness 6.5).
SEEDS = (42, 666, 1024, 2048, 4069, *range(15))
PRETRAINING_UPDATES = 100_000  # paper 4.2

_RATE = number(above=0)
_MDP = {
    "kind": one_of("mdp", "iid", "identity", "mapping"),
    **dict.fromkeys(("states", "actions", "trajectories", "length"), integer(1)),
    **dict.fromkeys(("policy_temperature", "transition_temperature"), number(above=0, may_be_infinite=True)),
    "random_start": yes_or_no(),
    "rows": one_of("authors", "independent"),
    "seed": integer(0),
}
_CQL = {
    "sampled_actions": integer(1),
    "discount": number(least=0, most=1),
    **dict.fromkeys(("policy_learning_rate", "critic_learning_rate", "alpha_learning_rate"), _RATE),
    "conservative_weight": number(least=0),
    "temperature": number(above=0),
    "target_rate": number(above=0, most=1),
    "safe_q": one_of("next_value", "target", "off"),
    "hidden": list_of(integer(1), different=False),
}
_CRITIC_WEIGHTS = {"kind": one_of("permuted", "norms_only"), "seed": integer(0)}

ALGORITHM = Algorithm(
    name="cql",
    seeds=SEEDS,
    preset_keys={"pretraining_scale": number(above=0), "mdp_trajectories": integer(1)},
    arm_keys=PRETRAINED_ARM
    | GENERATED_ARM
    | {"mdp": group(_MDP), "cql": group(_CQL), "critic_weights": group(_CRITIC_WEIGHTS)},
    pretraining_updates=lambda arm: PRETRAINING_UPDATES,
    plotted_loss="combined_loss_last_minibatch",  # faithfulness 6.6
    target_over=4,  # faithfulness 6.8
    code="synthlib.cql.jobs",
)
