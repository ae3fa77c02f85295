"""What we run, line by line of Tables 9, 10, 15, 16 and 17, read from the trainings that Tables 1 and 6 plan.

No setting is typed here a second time. A line's value comes from the configuration of a planned job. Where a line has
no field (ReLU, "Lagrange: False"), the answer comes from networks of that configuration, or from one step with them
(:mod:`synthlib.report.probes`). Every value is a text in the notation of the paper's table.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pandas as pd

from synthlib.cql.agent import CQLConfig
from synthlib.cql.pretraining import config_of
from synthlib.dt import finetuning
from synthlib.dt.finetuning import DTTrainingConfig
from synthlib.dt.model import DTConfig
from synthlib.dt.pretraining import GPT2PretrainingConfig, huggingface_config, learning_rate
from synthlib.generators.mdp import MDPConfig
from synthlib.paper import paper_arms
from synthlib.report import probes
from synthlib.runs.job import Job
from synthlib.study.params import ParameterError, load_artefact
from synthlib.study.plan import Plan, make_plan
from synthlib.study.presets import left_out, load_preset
from synthlib.tasks import ENVIRONMENTS, MAX_EPISODE_STEPS, REFERENCE_RETURNS, environment_of, normalised_score

Lines = dict[str, str]
"""{name of a line as printed: our value}"""
Where = tuple[str, str]
"""Arm and robot of a training."""

ARTEFACTS = {9: "table1", 10: "table1", 15: "table6", 16: "table6"}
"""{table of settings: the printed table whose trainings have them}; Table 17 belongs to no training."""
DEFAULT_ARMS = {9: "DT+Synthetic", 15: "S=100"}
"""The arm with the paper's default pre-training."""
_ROBOTS = dict(zip(ENVIRONMENTS, ("HalfCheetah", "Hopper", "Walker", "Ant"), strict=True))  # as Table 10 calls them


def our_settings(number: int, preset: str) -> Lines:
    """Our value of each line of Table ``number`` under ``preset``, in no particular order.

    Raises ParameterError when the preset has no size for the table's algorithm, KeyError for another table.
    """
    if number == 17:
        return _table17()
    artefact = load_artefact(ARTEFACTS[number])
    assert artefact.paper_table is not None
    # The paper's arms only: an arm that a reader adds may have any settings.
    printed = paper_arms(artefact.paper_table)
    absent = left_out(artefact, load_preset(preset, artefact.algorithm))
    arms = [arm for arm in artefact.arms if arm in printed and arm not in absent]
    return _READERS[number](make_plan(artefact.name, preset, None, arms))


def differing_flags(preset: str) -> pd.DataFrame:
    """Every field of DT's model and fine-tuning in which the arms of Table 1 differ: a row per field, a column per arm.

    All values are text. Table 10 has one column for all arms (contradiction 9).
    """
    arms = {
        arm: vars(DTConfig(**job.config["model"])) | vars(DTTrainingConfig(**job.config["training"]))
        for (arm, _), job in _jobs(make_plan("table1", preset, None)).items()
    }
    fields = pd.DataFrame({arm: {name: str(value) for name, value in of.items()} for arm, of in arms.items()})
    # Each arm stands here with the last of its robots, and all arms have the same robots.
    return fields[fields.nunique(axis=1) > 1]


def _table9(plan: Plan) -> Lines:
    job = _pretraining(plan, DEFAULT_ARMS[9])
    config = GPT2PretrainingConfig(**job.config["gpt2"])
    made = huggingface_config(config)
    size, end = config.sequence_length * config.batch_size, config.schedule_updates
    part = f"{job.updates} in the default arm, of a schedule of {end}"
    return {
        "Number of layer": str(config.layers),
        "Number of attention heads": str(config.heads),
        "Embedding dimension": str(config.width),
        "Sequence length": str(config.sequence_length),
        "Batch size": f"{size} tokens / {config.batch_size} sequences",
        "Steps": str(end) if job.updates == end else part,
        "Dropout": _dropout(made.resid_pdrop, made.attn_pdrop, made.embd_pdrop),
        "Learning rate": str(config.learning_rate),
        "Weight decay": str(config.weight_decay),
        "Learning rate decay": _schedule(lambda update: learning_rate(config, update), config.schedule_updates),
    }


def _table10(plan: Plan) -> Lines:
    jobs = _jobs(plan)
    models = {where: DTConfig(**job.config["model"]) for where, job in jobs.items()}
    trainings = {where: DTTrainingConfig(**job.config["training"]) for where, job in jobs.items()}
    targets = {where: f"{job.config['evaluation']['target_return']:g}" for where, job in jobs.items()}
    decays = _each(probes.decayed, {where: (models[where], trainings[where]) for where in jobs})
    of_schedules = {where: (training, jobs[where].updates) for where, training in trainings.items()}

    def of_models(value: Callable[[DTConfig], Any]) -> str:
        return _by_arm({where: str(value(model)) for where, model in models.items()})

    def of_trainings(value: Callable[[DTTrainingConfig], Any]) -> str:
        return _by_arm({where: str(value(training)) for where, training in trainings.items()})

    return {
        "Number of layers": of_models(lambda model: model.layers),
        "Number of attention heads": of_models(lambda model: model.heads),
        "Embedding dimension": of_models(lambda model: model.width),
        "Nonlinearity function": of_models(probes.nonlinearity),
        "Batch size": of_trainings(lambda training: training.batch_size),
        "Context length K": _by_robot({where: str(model.context) for where, model in models.items()}),
        "Return-to-go conditioning": _by_robot(targets),
        "Dropout": of_models(lambda m: _dropout(m.residual_dropout, m.attention_dropout, m.embedding_dropout)),
        "Learning rate": _rate_of_dt(jobs),
        "Grad norm clip": of_trainings(lambda training: training.gradient_clip),
        "Weight decay": _by_arm({where: _decay(*decay) for where, decay in decays.items()}),
        "Learning rate decay": _by_arm(_each(_schedule_of_dt, of_schedules)),
    }


def _table15(plan: Plan) -> Lines:
    job = _pretraining(plan, DEFAULT_ARMS[15])
    config = config_of(job.config)
    mdp = config.mdp
    assert isinstance(mdp, MDPConfig), "the paper's pre-training"
    training = probes.critic_training(config)
    return {
        **_hidden_layers("Q nets", training.q1.trunk),
        "Optimizer": probes.name_of(training.optimiser),
        "Criterion": probes.criterion(training),
        "Q nets learning rate": str(training.optimiser.param_groups[0]["lr"]),
        "Total updates": str(job.updates),
        "Batch size": str(config.batch_size),
        "Seed": str(config.seed),
        "Number of trajectories": str(mdp.trajectories),
        "Max length of each trajectory": str(mdp.length),
        "Action space size": str(mdp.actions),
        "State space size": str(mdp.states),
        "Policy distribution temperature": f"{mdp.policy_temperature:g}",
        "Transition distribution temperature": f"{mdp.transition_temperature:g}",
        "Sampling distribution of action/state entries": probes.distribution(training.state_table),
    }


def _table16(plan: Plan) -> Lines:
    jobs = _jobs(plan)
    parts = ("cql", "evaluation", "batch_size")
    settings = {where: ({part: job.config[part] for part in parts}, job.updates) for where, job in jobs.items()}
    lines = _each(_table16_of, settings)
    names = next(iter(lines.values()))
    merged = {name: _by_arm({where: of[name] for where, of in lines.items()}) for name in names}
    return merged | {"Seeds": _ranges({cell.seed for cell in plan.cells})}


def _table16_of(settings: dict[str, Any], updates: int) -> Lines:
    """All lines of Table 16 but the seeds, for trainings of ``updates`` updates with these ``settings``."""
    config = CQLConfig(**settings["cql"])
    agent = probes.agent(config)
    every = settings["evaluation"]["every"]
    return {
        **_hidden_layers("Q nets", agent.q1.trunk),
        **_hidden_layers("Policy net", agent.policy.trunk),
        "Optimizer": probes.name_of(agent.optimiser),
        "Q nets learning rate": str(config.critic_learning_rate),
        "Policy net learning rate": str(config.policy_learning_rate),
        "Target Q nets update rate": str(config.target_rate),
        "Batch size": str(settings["batch_size"]),
        "Discount factor": str(config.discount),
        **probes.switches(config),
        "Number of sampled actions": str(config.sampled_actions),
        "Temperature": str(config.temperature),
        "Min Q weight": str(config.conservative_weight),
        "Epochs": f"{updates / every:g}",
        "Updates per epoch": str(every),
        "Number of evaluation trajectories": str(settings["evaluation"]["episodes"]),
        "Max length of evaluation trajectories": str(MAX_EPISODE_STEPS),
    }


def _table17() -> Lines:
    for robot, ends in REFERENCE_RETURNS.items():
        assert normalised_score(robot, ends).tolist() == [0, 100], "the scores are not normalised with these returns"
    return {f"{robot}-v2": f"({low}, {high})" for robot, (low, high) in REFERENCE_RETURNS.items()}


_READERS: dict[int, Callable[[Plan], Lines]] = {9: _table9, 10: _table10, 15: _table15, 16: _table16}


def _jobs(plan: Plan) -> dict[Where, Job]:
    """One job of each arm and robot. Its other data sets and seeds have the same settings."""
    return {(cell.arm, environment_of(cell.dataset)): cell.job for cell in plan.cells}


def _pretraining(plan: Plan, arm: str) -> Job:
    """The pre-training that ``arm`` starts from; for all robots it has the same settings but the widths.

    Raises ParameterError when the table has no such arm, or the arm no pre-training.
    """
    pretrainings = [required for (name, _), job in _jobs(plan).items() if name == arm for required in job.requires]
    if not pretrainings:
        raise ParameterError(f"params/{plan.artefact.name}.yaml has no arm {arm!r} with a pre-training: add it again")
    return pretrainings[0]


def _by_arm(values: Mapping[Where, str]) -> str:
    """The value of all arms; where they differ, each value with its arms."""
    return _grouped({arm: value for (arm, _), value in values.items()}, "{value} ({names})")


def _by_robot(values: Mapping[Where, str]) -> str:
    """Each value with its robots in Table 10's words; where arms differ, with the arms."""
    of_arms: dict[str, dict[str, str]] = {}
    for (arm, robot), value in values.items():
        of_arms.setdefault(arm, {})[robot] = value
    ordered = {
        arm: _grouped({name: of[robot] for robot, name in _ROBOTS.items() if robot in of}, "{value} {names}", False)
        for arm, of in of_arms.items()
    }
    return _grouped(ordered, "{value} ({names})")


def _grouped(values: Mapping[str, str], text: str, bare: bool = True) -> str:
    """Each different value of {name: value} with its names; ``bare``: without names where there is one value only."""
    names: dict[str, list[str]] = {}
    for name, value in values.items():
        names.setdefault(value, []).append(name)
    if bare and len(names) == 1:
        return next(iter(names))
    return "; ".join(text.format(value=value, names=", ".join(of)) for value, of in names.items())


def _dropout(residual: float, attention: float, embedding: float) -> str:
    if residual == attention == embedding:
        return str(residual)
    if attention == embedding:
        return f"{residual} for residuals, {attention} for attention and embeddings"
    return f"{residual} for residuals, {attention} for attention, {embedding} for embeddings"


def _decay(backbone: float, others: float) -> str:
    return f"{backbone} everywhere" if backbone == others else f"{backbone} for backbone, {others} elsewhere"


def _schedule(rate: Callable[[int], float], updates: int) -> str:
    """How a learning rate goes over ``updates`` updates and beyond; ``rate`` maps a 0-based update to it."""
    rates = [rate(update) for update in range(updates + 1)]
    peak = max(rates)
    warm = rates.index(peak)
    words = f"Linear warmup for first {warm} training steps"
    after = rates[warm:]
    if min(after) == peak:
        return words
    return f"{words}, then linear decay to {min(after):g} at {warm + after.index(min(after))}"


def _schedule_of_dt(config: DTTrainingConfig, updates: int) -> str:
    # Fine-tuning starts above 0, so the whole rate is there at update warmup - 1, counted from 0.
    return _schedule(lambda update: finetuning.learning_rate(config, update - 1), max(updates, config.warmup_updates))


def _rate_of_dt(jobs: Mapping[Where, Job]) -> str:
    """DT's learning rate, and how often an update steps the time embedding where this is not once."""
    trainings = {where: DTTrainingConfig(**job.config["training"]) for where, job in jobs.items()}
    rate = _by_arm({where: str(training.learning_rate) for where, training in trainings.items()})
    steps = {
        kind: {
            training.time_embedding_steps for where, training in trainings.items() if bool(jobs[where].requires) == kind
        }
        for kind in (True, False)
    }
    if steps[True] | steps[False] == {1}:
        return rate
    if len(steps[True]) == 1 and steps[False] <= {1}:
        (often,) = steps[True]
        words = {1: "once", 2: "twice"}.get(often, f"{often} times")
        return f"{rate}; the time embedding of pre-trained arms is stepped {words} per update"
    often_by_arm = _by_arm({where: str(training.time_embedding_steps) for where, training in trainings.items()})
    return f"{rate}; steps of the time embedding per update: {often_by_arm}"


def _each(value: Callable[..., Any], given: Mapping[Where, tuple[Any, ...]]) -> dict[Where, Any]:
    """{where: ``value(*given[where])``}, computed once for all places that give it the same."""
    distinct = {repr(arguments): arguments for arguments in given.values()}
    found = {written: value(*arguments) for written, arguments in distinct.items()}
    return {where: found[repr(arguments)] for where, arguments in given.items()}


def _hidden_layers(name: str, trunk: Iterable[Any]) -> Lines:
    widths, functions = probes.layers(trunk)
    return {
        f"{name} hidden layers": str(len(widths)),
        f"{name} hidden dim": ", ".join(map(str, sorted(set(widths)))),
        f"{name} activation function": ", ".join(sorted(functions)),
    }


def _ranges(seeds: Iterable[int]) -> str:
    """Whole numbers in order; three or more neighbours as "0-14"."""
    runs: list[list[int]] = []
    for seed in sorted(seeds):
        if runs and seed == runs[-1][-1] + 1:
            runs[-1].append(seed)
        else:
            runs.append([seed])
    texts = (f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs)
    return ", ".join(texts)
