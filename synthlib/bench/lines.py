"""The lines of ``make bench``: what is measured, against which peers, with which goals.

All contestants of a line do the same work; the first contestant is our fast version. A goal is a speed-up over the
contestant ``reference``, or a rate. A contestant called a limit does only the part of the work that no version can
avoid. Networks are on the chosen device.
"""

import copy
import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from transformers import GPT2LMHeadModel

from synthlib.bench import peer_d3rlpy, peer_jax, reference_loops
from synthlib.bench.reference_style import ReferenceCQL, ReferenceCriticPretraining, ReferenceDT, ReferenceDTTraining
from synthlib.cql import flops as cql_flops
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.cql.pretraining_fast import FastCriticPretraining
from synthlib.cql.stacked import StackedCQL
from synthlib.dt import flops as dt_flops
from synthlib.dt.evaluation import TARGET_RETURNS, ReturnConditioned, readable_episode
from synthlib.dt.finetuning import DTTraining, baseline_training, dropout_generator
from synthlib.dt.model import DecisionTransformer, LastAction, baseline_config, predict_actions
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig, huggingface_config, learning_rate, logits
from synthlib.dt.stacked import StackedDT
from synthlib.dt.windows import BatchBuilder, draw, prepare, update_generators
from synthlib.generators import mdp, mdp_fast
from synthlib.generators.markov_chain import ChainConfig, sequence
from synthlib.generators.markov_chain_fast import fast_stream
from synthlib.kernels.twins import best
from synthlib.machine.devices import CPU, chosen, put
from synthlib.offline.datasets import Trajectory, Transitions
from synthlib.offline.environments import make_environment, unwrapped_environment
from synthlib.offline.evaluation import Evaluator

OURS, READABLE, REFERENCE = "ours", "our readable version", "reference style"
LIMIT = "limit: the physics alone"
STACK = 4  # number of seeds that are trained as one computation, on a processor
STACK_ON_GPU = 20  # on a GPU, which fewer seeds would leave idle
AVX2 = os.environ.get("ATEN_CPU_CAPABILITY") == "avx2"  # torch must not use newer instructions than AVX2


class Contestant(NamedTuple):
    """One version of the work: a call of ``run()`` does ``units`` of the line's unit of work.

    ``finish()`` waits for what ``run()`` has asked for, where PyTorch does not know of it.
    """

    run: Callable[[], object]
    units: int = 1
    finish: Callable[[], object] = lambda: None


class Work(NamedTuple):
    """The work that a line measures.

    ``contestants`` are by name. ``operations`` is the least number of floating-point operations of one unit, None where
    they are not counted. ``product`` is the shape (m, k, n) of a matrix product that is typical of the work.
    """

    contestants: dict[str, Contestant]
    operations: float | None = None
    product: tuple[int, int, int] = (1408, 256, 256)


@dataclass(frozen=True)
class Line:
    """One kind of work with its goals: the goal ``must`` is required, the goal ``aim`` is higher.

    ``must`` and ``aim``: the speed-up over the contestant ``reference``. ``must_rate`` and ``aim_rate``: units per
    second, in place of a speed-up. ``must_of_floor`` and ``aim_of_floor``: the least possible time, at the rate of
    torch's own matrix product, over the time taken.
    """

    name: str
    title: str
    unit: str
    build: Callable[[], Work]
    must: float | None = None
    aim: float | None = None
    reference: str = REFERENCE
    must_of_floor: float | None = None
    aim_of_floor: float | None = None
    must_rate: float | None = None
    aim_rate: float | None = None
    on_gpu: bool = False  # whether the work, or a part of it, runs on a GPU when one is chosen
    only_gpu: bool = False  # whether it is no use on a processor


def all_lines() -> list[Line]:
    """All lines, in the order of the page."""
    network = partial(Line, on_gpu=True)
    update = "CQL update, 3 sampled actions, halfcheetah's widths"
    play = "evaluation of a Decision Transformer, halfcheetah"
    return [
        network(
            "cql-3",
            update,
            "update",
            partial(cql, 17, 6, 3),
            must=1.45,
            aim=1.75,
            must_of_floor=0.73,
            aim_of_floor=0.88,
        ),
        network("cql-10", "CQL update, 10 sampled actions", "update", partial(cql, 17, 6, 10), must=1.35, aim=1.6),
        network("cql-ant", "CQL update, the ant's widths", "update", partial(cql, 111, 8, 3), must=1.65, aim=2.0),
        network("critics", "critic pre-training update", "update", critic_pretraining, must=1.3, aim=1.6),
        network("dt", "Decision Transformer update with its batch", "update", dt, must=1.35, aim=1.75),
        network("gpt2", "GPT-2 pre-training, 1024 tokens a sequence", "token", gpt2, 1.3, 1.7, "Hugging Face, sdpa"),
        *(
            Line(
                f"chain-{states}",
                f"Markov chain, {states:,} states",
                "token",
                partial(chain, states),
                must_rate=10e6,
                aim_rate=25e6,
            )
            for states in (10, 100, 1000, 10_000, 100_000)
        ),
        Line("mdp", "MDP data, 100 states and actions", "transition", mdp_data, must=100, aim=400),
        Line("evaluation", "evaluation of a CQL policy, halfcheetah", "step", evaluation, must=3, aim=5),
        Line("dt-evaluation", play, "step", dt_evaluation, must=3.5, aim=5),
    ]


def cql(observation_width: int, action_width: int, sampled_actions: int) -> Work:
    """CQL updates on minibatches of 256 transitions, with their noise."""
    widths, config = (observation_width, action_width), CQLConfig(sampled_actions=sampled_actions)
    device, stacked = chosen(), STACK if chosen() == CPU else STACK_ON_GPU
    readable, fast = (kind(*widths, config, q_max=1000.0, seed=0, device=device) for kind in (CQL, FastCQL))
    stack = StackedCQL([FastCQL(*widths, config, q_max=1000.0, seed=seed, device=device) for seed in range(stacked)])
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(2, 256, observation_width, generator=generator)
    actions = torch.rand(256, action_width, generator=generator) * 2 - 1
    columns = states[0], actions, torch.randn(256, generator=generator), states[1], torch.zeros(256)
    batch = Transitions(*put(device, *columns))

    def noise() -> Noise:
        return Noise(*put(device, *draw_noise(generator, 256, action_width, sampled_actions)))

    def updates(agent: CQL | ReferenceCQL) -> Contestant:
        return Contestant(lambda: agent.update(batch, noise()))

    contestants = {
        OURS: updates(fast),
        READABLE: updates(readable),
        f"ours, {stacked} seeds stacked": Contestant(
            lambda: stack.update([batch] * stacked, [noise() for _ in range(stacked)]), stacked
        ),
        REFERENCE: updates(ReferenceCQL(readable)),
    }
    if peer_d3rlpy.is_there():
        contestants["d3rlpy"] = Contestant(peer_d3rlpy.cql_updates(Transitions(*columns), sampled_actions, device))
    if not AVX2 and not peer_jax.missing(device):
        run, finish = peer_jax.cql_updates(readable, Transitions(*columns), device)
        contestants["JAX, compiled by XLA"] = Contestant(run, finish=finish)
    return Work(contestants, cql_flops.update(*widths, sampled_actions))


def critic_pretraining() -> Work:
    """Updates of critic pre-training on MDP data."""
    source = mdp.MDPConfig(trajectories=100)
    config, data = CriticPretrainingConfig(17, 6, source), best(mdp.generate, source)(source)
    kinds = FastCriticPretraining, CriticPretraining
    fast, readable = (kind(config, transitions=data, device=chosen()) for kind in kinds)
    reference, rows = ReferenceCriticPretraining(readable), np.random.RandomState(0)
    contestants = {
        OURS: Contestant(lambda: fast.run(fast.updates + 10), 10),
        READABLE: Contestant(lambda: readable.run(readable.updates + 10), 10),
        REFERENCE: Contestant(lambda: [reference.update(rows) for _ in range(10)], 10),
    }
    return Work(contestants, cql_flops.pretraining_update(17, 6), (256, 256, 256))


def dt() -> Work:
    """Decision Transformer updates on minibatches of 64 windows; drawing and cutting the windows is measured too."""
    rng = np.random.default_rng(0)
    floats = ((100, 1000, width) for width in (17, 6, 1))
    observations, actions, rewards = (rng.standard_normal(shape, dtype=np.float32) for shape in floats)
    ends = np.zeros(1000, dtype=bool)
    episodes = zip(observations, np.tanh(actions), rewards[:, :, 0], strict=True)
    data = prepare([Trajectory(*episode, ends) for episode in episodes])
    device, stacked = chosen(), STACK if chosen() == CPU else STACK_ON_GPU
    builder, settings = best(BatchBuilder)(data), baseline_training()
    model = DecisionTransformer(baseline_config(17, 6), 0).to(device)

    def inputs(seed, updates, batch_of):
        windows = draw(data, 64, *update_generators(seed, updates))
        return batch_of(*windows), dropout_generator(seed, updates, device)

    def ours(training, batch_of):
        training.update(*inputs(0, training.updates, batch_of))

    def together(stack):
        updates = stack.trainings[0].updates
        stack.update(*zip(*(inputs(seed, updates, builder.batch) for seed in range(stacked)), strict=True))

    def reference(training):
        np.random.seed(training.schedule.last_epoch)
        random.seed(training.schedule.last_epoch)
        training.update(reference_loops.window_batch(data, *reference_loops.draw_windows(data, 64)))

    predict = best(predict_actions, model.config)
    fast, readable = (DTTraining(copy.deepcopy(model), settings, one) for one in (predict, predict_actions))
    eager, sdpa = (
        ReferenceDTTraining(ReferenceDT(model.config, attention).load(model).to(device), settings)
        for attention in ("eager", "sdpa")
    )
    stack = StackedDT([DTTraining(copy.deepcopy(model), settings, predict) for _ in range(stacked)])
    contestants = {
        OURS: Contestant(lambda: ours(fast, builder.batch)),
        READABLE: Contestant(lambda: ours(readable, BatchBuilder(data).batch)),
        f"ours, {stacked} seeds stacked": Contestant(lambda: together(stack), stacked),
        REFERENCE: Contestant(lambda: reference(eager)),
        "Hugging Face, sdpa": Contestant(lambda: reference(sdpa)),
    }
    if peer_d3rlpy.is_there():
        contestants["d3rlpy"] = Contestant(peer_d3rlpy.dt_updates(data.trajectories, 64, device))
    return Work(contestants, dt_flops.update(17, 6), (3840, 128, 512))


def gpt2(sequences: int = 4) -> Work:
    """GPT-2 pre-training updates on ``sequences`` sequences of a Markov chain, in tokens."""
    config = GPT2PretrainingConfig(vocabulary=100, batch_size=sequences)
    tokens = fast_stream(ChainConfig(), 0, range(sequences))
    as_tensor, units = torch.from_numpy(tokens).long().to(chosen()), tokens.size
    fast = GPT2Pretraining(config, batches=None, logits=best(logits, config), device=chosen())

    def plain(attention: str) -> Contestant:
        model = GPT2LMHeadModel._from_config(huggingface_config(config), attn_implementation=attention).train()
        model.to(chosen())
        optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, eps=config.eps)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda update: learning_rate(config, update) / config.learning_rate
        )

        def update() -> None:
            loss = model(as_tensor, labels=as_tensor, use_cache=False).loss
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            loss.item()

        return Contestant(update, units)

    contestants = {
        OURS: Contestant(lambda: fast.update(tokens), units),
        REFERENCE: plain("eager"),
        "Hugging Face, sdpa": plain("sdpa"),
    }
    return Work(contestants, dt_flops.gpt2_update(100, batch_size=sequences) / units, (4096, 128, 512))


def chain(states: int) -> Work:
    """Drawing tokens from a Markov chain with ``states`` states."""
    config = ChainConfig(states=states)
    sequences, slow = 8192, max(3, 20_000 // states)
    place = {"iteration": 0, "worker": 0, "workers": 1}
    contestants = {
        OURS: Contestant(lambda: fast_stream(config, 0, range(sequences)), sequences * config.length),
        REFERENCE: Contestant(
            lambda: reference_loops.chain_tokens(config, **place, sequences=4, positions=slow // 4 + 2),
            4 * (slow // 4 + 2),
        ),
    }
    short = ChainConfig(states=states, length=max(3, slow // 4))
    generator = np.random.default_rng(0)
    contestants[READABLE] = Contestant(lambda: sequence(short, generator), short.length)
    return Work(contestants)


def mdp_data() -> Work:
    """Drawing transitions from the MDP."""
    config = mdp.MDPConfig()
    few = mdp.MDPConfig(trajectories=1, length=300)
    contestants = {
        OURS: Contestant(lambda: mdp_fast.fast_generate(config), config.trajectories * config.length),
        READABLE: Contestant(lambda: mdp.generate(few), 300),
        REFERENCE: Contestant(lambda: reference_loops.mdp_transitions(config, 1, 300), 300),
        # Every draw comes from a generator that is newly seeded with 42 or 666 + 1000 j + 333 t.
        "limit: the seeds alone": Contestant(
            lambda: mdp_fast.first_doubles(np.arange(42, 666 + 1333 * 999 + 1)), config.trajectories * config.length
        ),
    }
    return Work(contestants)


def evaluation(steps: int = 200) -> Work:
    """The first ``steps`` steps of ten episodes of a CQL policy."""
    agent = FastCQL(17, 6, CQLConfig(), q_max=1.0, seed=0)
    evaluator = Evaluator("halfcheetah", episodes=10, max_steps=steps)
    single = Evaluator("halfcheetah", episodes=1, max_steps=steps)
    env, reference = make_environment("halfcheetah"), ReferenceCQL(agent)
    contestants = {
        OURS: Contestant(lambda: evaluator.evaluate(agent.act, seed=0), 10 * steps),
        "ours, one episode at a time": Contestant(lambda: single.evaluate(agent.act, seed=0), steps),
        REFERENCE: Contestant(
            lambda: reference_loops.policy_returns(reference.act, "halfcheetah", [env], seed=0, max_steps=steps), steps
        ),
        LIMIT: physics_alone(evaluator),
    }
    return Work(contestants)


def physics_alone(evaluator: Evaluator) -> Contestant:
    """The limit of an evaluation: ten episodes with a constant action, which costs no time."""
    still = np.zeros((10, 6), dtype=np.float32)
    return Contestant(lambda: evaluator.evaluate(lambda observations: still, seed=0), 10 * evaluator.max_steps)


def dt_evaluation(steps: int = 200) -> Work:
    """The first ``steps`` steps of ten episodes of a Decision Transformer.

    The windows of the first 19 steps are shorter. Only our version saves time there: in 2 % of a complete episode.
    """
    model = DecisionTransformer(baseline_config(17, 6), seed=0).eval()
    last_action = best(LastAction, model.config)
    evaluator = Evaluator("halfcheetah", episodes=10, max_steps=steps)
    env = unwrapped_environment("halfcheetah")
    mean, std, target = np.zeros(17, dtype=np.float32), np.ones(17, dtype=np.float32), TARGET_RETURNS["halfcheetah"]
    reference = ReferenceDT(model.config).load(model).eval()

    def ours() -> None:
        evaluator.play(ReturnConditioned(last_action(model), model.config, mean, std, target), seed=0)

    contestants = {
        OURS: Contestant(ours, 10 * steps),
        READABLE: Contestant(lambda: readable_episode(model, env, mean, std, target, 0, steps), steps),
        REFERENCE: Contestant(
            lambda: reference_loops.transformer_return(reference, env, mean, std, target, 0, steps), steps
        ),
        LIMIT: physics_alone(Evaluator("halfcheetah", episodes=10, max_steps=steps)),
    }
    return Work(contestants, dt_flops.action(17, 6), (590, 128, 512))
