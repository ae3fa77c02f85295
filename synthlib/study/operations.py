"""Floating-point operations of the matrix products that an update cannot do without; a multiply-add counts as two.

What is left out if it can be: gradients that nobody reads, a state's half of the first critic layer more than once,
attention to the future, two of the four projections of one-headed attention (:mod:`synthlib.dt.attention_fast`), and in
the Decision Transformer what only feeds outputs without loss. Elementwise work and products of weights alone are not
counted. The counts of the plain programs are in faithfulness 9.7; these here are 5 to 50 % smaller.
"""

from synthlib.tasks import DIMENSIONS, environment_of


def cql_update(observation_width, action_width, sampled_actions, batch_size=256, hidden=(256, 256)):
    """One CQL update, both critics, their targets, policy."""
    first, second = hidden
    of_state, of_action = observation_width * first, action_width * first
    above = first * second + second  # second layer and head of a critic
    trained = 3 * sampled_actions + 1  # pairs that the critics learn from; one more leads to the policy
    forward = of_state + (trained + 1) * (of_action + above)
    backward = of_state + trained * (of_action + 2 * above) + above + of_action
    target = of_state + of_action + above
    policy = of_state + first * second + second * 2 * action_width
    policy_backward = 2 * policy - of_state
    return 2 * batch_size * (2 * (forward + backward + target) + 2 * policy + policy_backward)


def critic_pretraining_update(observation_width, action_width, outputs=None, batch_size=256, hidden=(256, 256)):
    """One update of both critics' prediction; ``outputs`` is the width of what they predict, a state's unless given."""
    outputs = observation_width if outputs is None else outputs
    first, second = hidden
    from_inputs = (observation_width + action_width) * first
    forward = from_inputs + first * second + second * outputs
    return 2 * batch_size * 2 * (3 * forward - from_inputs)


def dt_update(observation_width, action_width, batch_size=64, steps=20, width=128, layers=3):
    """One update of the Decision Transformer, windows of ``steps`` steps."""
    tokens = 3 * steps
    square = width**2
    full_layer = tokens * 10 * square + _causal(range(1, tokens + 1), width)
    last_layer = steps * 10 * square + _causal(range(2, tokens + 1, 3), width)
    embedding = steps * (observation_width + action_width + 1) * width
    head = steps * action_width * width
    return 2 * batch_size * (3 * ((layers - 1) * full_layer + last_layer + head) + 2 * embedding)


def dt_action(observation_width, action_width, steps=20, width=128, layers=3):
    """One action in evaluation, for a full window of ``steps`` steps; of the last layer the last query alone.

    Tokens keep their embeddings while the window slides, and with them the first layer's two projections.
    """
    tokens = 3 * steps - 1
    square = width**2
    attended = _causal(range(1, tokens + 1), width)
    first_layer = 3 * 2 * square + tokens * 8 * square + attended
    full_layer = tokens * 10 * square + attended
    last_layer = 10 * square + _causal([tokens], width)
    ends = (observation_width + 2 * action_width + 1) * width
    return 2 * (first_layer + (layers - 2) * full_layer + last_layer + ends)


def gpt2_update(vocabulary, sequence_length=1024, batch_size=64, width=128, layers=3):
    """One update of GPT-2's pre-training."""
    layer = sequence_length * 10 * width**2 + _causal(range(1, sequence_length + 1), width)
    return 2 * batch_size * 3 * (layers * layer + sequence_length * width * vocabulary)


def of_gpt2(config):
    """One update of a pre-training described by ``asdict(GPT2PretrainingConfig)``."""
    vocabulary = config["vocabulary"] * (2 if config["objective"] == "mapping" else 1)
    return gpt2_update(vocabulary, *(config[name] for name in ("sequence_length", "batch_size", "width", "layers")))


def _causal(lengths, width):
    """Multiply-adds of scores and of mixing, for queries that see ``lengths`` keys each."""
    return 2 * width * sum(lengths)


def of_job(job):
    """All updates of a training; its evaluations, a hundredth of that, are left out."""
    config = job.config
    if job.kind == "critic_pretraining":
        widths = config["observation_width"], config["action_width"]
        both = config["mdp"]["kind"] in ("identity", "mapping")
        return job.updates * critic_pretraining_update(*widths, sum(widths) if both else widths[0])
    if job.kind == "gpt2_pretraining":
        return job.updates * of_gpt2(config["gpt2"])
    if job.kind == "dt":
        model = config["model"]
        widths = model["observation_width"], model["action_width"]
        batch_size = config["training"]["batch_size"]
        return job.updates * dt_update(*widths, batch_size, width=model["width"], layers=model["layers"])
    widths = DIMENSIONS[environment_of(config["dataset"]["name"])]
    return job.updates * cql_update(*widths, config["cql"]["sampled_actions"], config["batch_size"])
