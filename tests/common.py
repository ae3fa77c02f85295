"""What several test files use: paths, golden vectors, small models, made-up data."""

import contextlib
import math
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.batches import Noise, draw_noise
from synthlib.dt.jobs import finetuning_job
from synthlib.dt.model import DecisionTransformer, baseline_config, pretrained_config
from synthlib.dt.pretraining import GPT2PretrainingConfig
from synthlib.dt.token_batches import shuffled_batches
from synthlib.dt.windows import Batch as WindowBatch
from synthlib.generators.registry import Generated
from synthlib.generators.smooth_dynamics import smooth_dynamics
from synthlib.kernels.memory import META  # noqa: F401, for other tests
from synthlib.offline.datasets import Transitions
from synthlib.replica.collection import episodes_to_arrays, write_tier
from synthlib.replica.policies import BehaviourPolicy
from synthlib.report.authors_logs import COLUMNS
from synthlib.report.authors_table import TABLE
from synthlib.runs import loop
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.algorithms import training
from synthlib.tasks import DATASETS

TESTS = Path(__file__).parent
ROOT = TESTS.parent


def golden(name):
    """The arrays of a golden file of the reference implementations."""
    return np.load(TESTS / "golden" / f"{name}.npz")


SHARED = ROOT / "../shared"  # large references that are not part of the repository; tests skip without them

# --- other users of this machine

NOBODY = 65534
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")

needs_unshare = pytest.mark.skipif(
    os.geteuid() != 0 or subprocess.run(["unshare", "--pid", "--fork", "true"], check=False).returncode != 0
    if shutil.which("unshare")
    else True,
    reason="no process namespace can be made here",
)


@contextlib.contextmanager
def umask(mode):
    before = os.umask(mode)
    try:
        yield
    finally:
        os.umask(before)


def succeeds_for_another_user(look):
    """Whether ``look()`` returns something true to a user who may read what everybody may, and write nothing."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            status = 0 if look() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# --- the run store


def job(updates=10, keep=(), **config):
    return Job("cql", {"seed": 1, **config}, updates, keep=keep)


def save(store, one, updates, rows=()):
    session = store.open(one)
    with session.recording_failure():
        session.save({"weights": torch.ones(3), "updates": updates}, updates, evaluations=rows)


def train(one, store):
    """Train the job ``one`` in this process."""
    session = store.open(one)
    with session.recording_failure():
        loop.train(training(one), [session], store, lambda updates: None)


# --- generators of one's own

OWN_GENERATORS = """
import numpy as np
from synthlib.generators.registry import token_generator, transition_generator

@token_generator
def coin(seed, sequences, length, vocabulary=2, bias=0.5):
    return (np.random.default_rng(seed).random((sequences, length)) < bias).astype(int)

@transition_generator
def drift(seed, transitions, observation_width, action_width, speed=0.1):
    draw = np.random.default_rng(seed)
    states = draw.normal(size=(transitions, observation_width))
    actions = draw.uniform(-1, 1, (transitions, action_width))
    return states, actions, states + speed * actions.sum(axis=1, keepdims=True)

@transition_generator
def ring(seed, transitions, observation_width, action_width, states=5):
    draw = np.random.default_rng(seed)
    now, action = draw.integers(states, size=transitions), draw.integers(2, size=transitions)
    return now, action, (now + action) % states
"""

# --- offline data


def pretrained_together(jobs, store, together, stop=math.inf, stride=1):
    """Pre-train ``jobs`` as the group that ``together`` makes, until more than ``stop`` updates are made: rows."""
    one = training(jobs[0])
    trainings, sessions = [one.start(job, store) for job in jobs], [store.open(job) for job in jobs]

    def report(updates):
        if updates > stop:
            raise loop.OutOfTime

    try:
        loop.pretrain(trainings, one.weights, sessions, report, stride, together)
    except loop.OutOfTime:
        pass
    finally:
        for session in sessions:
            session.release()
    return [pd.read_csv(store.folder(job) / "losses.csv") for job in jobs]


def assert_equal_weights(jobs, *stores):
    """All weights that the ``jobs`` keep are the same in both stores, bit for bit."""
    for job in jobs:
        for updates in job.keep:
            first, second = (tree_leaves(store.weights(replace(job, updates=updates))) for store in stores)
            assert all(torch.equal(*pair) for pair in zip(first, second, strict=True))


def toy_file(path, rows=30, widths=(11, 3), seed=0, **changes):
    """A hopper file in D4RL's layout; ``changes`` replace arrays (None removes one).

    Each next observation is the next row's, except after the last row of an episode.
    """
    rng = np.random.default_rng(seed)
    arrays = {
        "observations": rng.normal(size=(rows, widths[0])).astype(np.float32),
        "actions": rng.uniform(-1, 1, size=(rows, widths[1])).astype(np.float32),
        "rewards": rng.normal(size=rows).astype(np.float32),
        "terminals": np.arange(rows) % 10 == 9,
        "timeouts": np.arange(rows) % 15 == 14,
    }
    after_the_end = rng.normal(size=(rows, widths[0])).astype(np.float32)
    arrays |= changes
    if arrays["observations"].shape == after_the_end.shape:
        flags = [np.ravel(arrays[name]) != 0 for name in ("terminals", "timeouts") if arrays[name] is not None]
        ends = np.logical_or.reduce([np.arange(rows) == rows - 1, *flags])
        following = np.where(ends[:, None], after_the_end, np.roll(arrays["observations"], -1, axis=0))
        arrays = {"next_observations": following} | arrays
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if array is not None:
                file.create_dataset(name, data=array, compression="gzip")
        file["metadata/algorithm"] = np.bytes_("toy")
    return arrays


# --- CQL


def random_batch(observation_width=5, action_width=3, size=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(shape, generator=generator).to(dtype)

    terminals = (torch.rand(size, generator=generator) < 0.2).to(dtype)
    return Transitions(
        normal(size, observation_width),
        normal(size, action_width).tanh(),
        normal(size),
        normal(size, observation_width),
        terminals,
    )


def noise_for(agent, size=16, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    noise = draw_noise(generator, size, agent.action_width, agent.config.sampled_actions)
    return Noise(*(tensor.to(dtype) for tensor in noise))


def small_agent(kind=CQL, config=None, **options):
    options = {"q_max": math.inf, "seed": 1} | options
    return kind(5, 3, config or CQLConfig(hidden=(32, 32)), **options)


def train_both(config, updates, dtype, observation_width=5, action_width=3, size=40, q_max=0.1, **options):
    """The readable agent and its fast twin after the same updates, and the largest difference of a loss on the way."""
    widths = observation_width, action_width
    agents = [kind(*widths, config, q_max=q_max, seed=3, dtype=dtype, **options) for kind in (CQL, FastCQL)]
    worst = 0.0
    for i in range(updates):
        batch = random_batch(*widths, size, seed=i, dtype=dtype)
        noise = noise_for(agents[0], size, seed=i, dtype=dtype)
        readable, fast = (agent.update(batch, noise) for agent in agents)
        assert readable.keys() == fast.keys()
        worst = max(worst, *(abs(float(readable[name] - fast[name])) for name in readable))
    return *agents, worst


def largest_difference(first, second, part):
    first, second = first.state_dict()[part], second.state_dict()[part]
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


# --- the Decision Transformer

DT_GOLDEN = golden("dt_forward")
DT_CASES = {"share_false": baseline_config, "share_true": pretrained_config}
NO_DROPOUT = {"residual_dropout": 0.0, "attention_dropout": 0.0, "embedding_dropout": 0.0}
SMALL_DT = {"width": 32, "timesteps": 1024, **NO_DROPOUT}


def golden_name(name):
    """Name in the golden file of a parameter of ours."""
    return name.replace("time_embedding.", "wpe.").replace("predict_action.", "predict_action.0.")


def golden_weights():
    prefix = "init/"
    names = [name for name in DT_GOLDEN.files if name.startswith(prefix)]
    return {name.removeprefix(prefix): torch.from_numpy(DT_GOLDEN[name]) for name in names}


def golden_model(case, **changes):
    model = DecisionTransformer(DT_CASES[case](5, 3, **(SMALL_DT | changes)), seed=0)
    weights = golden_weights()
    model.load_state_dict({name: weights[golden_name(name)] for name in model.state_dict()})
    return model


def golden_inputs(batch=0):
    names = ("states", "actions", "rtg", "timesteps")
    part = {name: torch.from_numpy(DT_GOLDEN[f"batch{batch}/{name}"]) for name in names}
    mask = torch.from_numpy(DT_GOLDEN[f"batch{batch}/attention_mask"]).float()
    return part["states"], part["actions"], part["rtg"][:, :-1], part["timesteps"], mask


def golden_batch(number):
    names = WindowBatch("states", "actions", "rewards", "dones", "rtg", "timesteps", "attention_mask")
    return WindowBatch(*(DT_GOLDEN[f"batch{number}/{name}"] for name in names))


class ToyTrajectory(NamedTuple):
    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    terminals: np.ndarray


def random_trajectories(lengths, seed=0, width=4):
    rng = np.random.default_rng(seed)
    made = []
    for length in lengths:
        observations, actions = rng.normal(2, 3, (length, width)), rng.uniform(-1, 1, (length, 2))
        parts = observations, actions, rng.normal(1, 1, length)
        made.append(ToyTrajectory(*(part.astype(np.float32) for part in parts), np.arange(length) == length - 1))
    return made


def window_batch(observation_width=5, action_width=3, size=4, steps=20):
    rng = np.random.default_rng(0)
    floats = [
        rng.standard_normal((size, steps, width), dtype=np.float32) for width in (observation_width, action_width)
    ]
    returns_to_go, timesteps = np.ones((size, steps + 1, 1), dtype=np.float32), np.tile(np.arange(steps), (size, 1))
    mask = np.ones((size, steps), dtype=np.float32)
    return WindowBatch(*floats, returns_to_go[:, 1:], timesteps, returns_to_go, timesteps, mask)


def noted_choices(monkeypatch, module):
    """A list that gets what ``best`` gives to ``module`` from now on."""
    given, best = [], module.best

    def noted(readable, config=None):
        given.append(best(readable, config))
        return given[-1]

    monkeypatch.setattr(module, "best", noted)
    return given


# What a preset and an arm say, so small that a training takes a second.
DT_SETTINGS = {
    "updates": 12,
    "evaluate_every": 4,
    "episodes": 2,
    "warmup_updates": 5,
    "pretraining_scale": 0.001,
    "pretraining_batch_size": 2,
    "pretraining_sequence_length": 8,
    "pretraining_learning_rate": 1e-2,
    "pretraining_sequences": 20,
    "validation_sequences": 4,
    "text": "small-wiki",
    "text_vocabulary": 300,
}
SMALL_ARM = {"model": {"width": 16, "layers": 1}, "training": {"batch_size": 4}}


def small_dt_job(arm, source, seed=42, **settings):
    return finetuning_job(SMALL_ARM | arm, "hopper-medium", seed, DT_SETTINGS | settings, source)


def trained_dt(arm, source, outputs, **settings):
    """(store, job) of :func:`small_dt_job` after it and what it requires have been trained."""
    store, one = Store(outputs / "store"), small_dt_job(arm, source, **settings)
    for wanted in (*one.requires, one):
        if not store.is_done(wanted):
            train(wanted, store)
    return store, one


# --- GPT-2's pre-training

GPT2_GOLDEN = golden("gpt2_pretrain")
GPT2_GOLDEN_CONFIG = GPT2PretrainingConfig(
    vocabulary=12,
    sequence_length=16,
    batch_size=4,
    width=32,
    positions=32,
    dropout=0.0,
    learning_rate=0.003,
    weight_decay=0.1,
    warmup_updates=2,
    schedule_updates=5,
)
SMALL_GPT2 = replace(GPT2_GOLDEN_CONFIG, dropout=0.1, warmup_updates=4, schedule_updates=100)
GPT2_BATCHES = shuffled_batches(GPT2_GOLDEN["dataset_rows"], 4)

# --- transitions of a generator

SMOOTH = Generated(
    "synthlib.generators.smooth_dynamics:smooth_dynamics",
    {"noise": 0.2, "gain": 1.5, "system": 1},
    {"version": smooth_dynamics.version},
    seed=0,
    size=500,
)

# --- devices

# META has tensors without numbers: waiting for one, or mixing places, fails there.


class OnePlace(TorchDispatchMode):
    """Fails at an operation on tensors of two devices; copies from one to the other, and single numbers, may be."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor) and leaf.dim()]
        places = {tensor.device.type for tensor in tensors}
        if len(places) > 1 and operation.overloadpacket.__name__ not in ("_to_copy", "copy_"):
            raise AssertionError(f"{operation} mixes {places}")
        return operation(*args, **(kwargs or {}))


# --- the replica's behaviour policies

POLICY_WIDTHS = {"hopper": (11, 3), "halfcheetah": (17, 6), "ant": (27, 8)}


def random_policy(environment="hopper", scale=0.3):
    """A small random policy: hoppers fall after a few dozen steps, cheetahs never end."""
    rng = np.random.default_rng(0)
    observations, actions = POLICY_WIDTHS[environment]
    sizes = [(observations, 16), (16, 16), (16, actions)]
    layers = [(scale * rng.normal(size=size), np.zeros(size[1])) for size in sizes]
    facts = {"environment": environment, "body_masses": "d4rl", "seed": 0, "steps": 500, "algorithm": "random"}
    return BehaviourPolicy(layers, facts | {"exploration_noise": 0.1})


def write_episodes(folder, episodes, whole, tier="medium", policy=None):
    return write_tier(folder, tier, episodes_to_arrays(episodes), policy or random_policy(), seed=3, whole=whole)


# --- the authors' logs

AUTHORS_LOGS = TABLE  # the repository's own


def small_logs(arms, seeds=(42, 666), evaluations=5):
    """Made-up runs of every data set in the layout of the CSV, with nothing constant."""
    generator = np.random.default_rng(0)
    updates = 5000 * np.arange(1, evaluations + 1)
    keys = pd.MultiIndex.from_product([arms, DATASETS, seeds, updates], names=COLUMNS[:4])
    values = generator.uniform(1, 100, (len(keys), 4)).round(3)
    return pd.DataFrame(values, columns=COLUMNS[4:], index=keys).reset_index()
