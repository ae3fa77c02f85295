"""The lines of ``make bench DEVICE=cuda`` that say what columns are for: one program for many runs.

The contestants are columns of different numbers of runs; the unit is one update of one run, of GPT-2 one token.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from synthlib.bench import peer_jax
from synthlib.bench.lines import OURS, Contestant, Line, Work
from synthlib.cql import flops as cql_flops
from synthlib.cql import memory as cql_memory
from synthlib.cql.agent import CQL, CQLConfig
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.jobs import BATCH_SIZE
from synthlib.cql.pretraining import CriticPretraining, CriticPretrainingConfig
from synthlib.dt import flops as dt_flops
from synthlib.dt import memory as dt_memory
from synthlib.dt.finetuning import DTTraining, baseline_training, dropout_generator
from synthlib.dt.model import DecisionTransformer, baseline_config, predict_actions
from synthlib.dt.pretraining import GPT2Pretraining, GPT2PretrainingConfig, logits
from synthlib.dt.windows import BatchBuilder, draw, update_generators
from synthlib.generators.markov_chain import ChainConfig
from synthlib.generators.markov_chain_fast import fast_stream
from synthlib.generators.mdp import MDPConfig
from synthlib.kernels.column import Column
from synthlib.kernels.memory import Footprint
from synthlib.kernels.twins import best
from synthlib.machine.devices import CPU, chosen, memory, put
from synthlib.offline.datasets import Transitions
from synthlib.study.memory import fit

WIDTHS = 17, 6  # halfcheetah
RUNS = (420, 140, 20, 1)
"""Table 6's arms, data sets and seeds of halfcheetah; one data set of it; one arm's seeds; one run."""
RUNS_ON_A_PROCESSOR = (4, 1)
PRETRAININGS, PRETRAININGS_ON_A_PROCESSOR = (4, 1), (2, 1)
CRITICS, CRITICS_ON_A_PROCESSOR = (24, 6, 1), (2, 1)
"""Pre-trainings of critics: four seeds of Table 6's sizes and IID; one seed of each; one pre-training."""
MOST_OF_JAX = 20
"""Agents in JAX's columns, beside our columns of equal sizes. What is larger would need the memory twice."""
ROWS = 100_000
_CRITICS = CriticPretrainingConfig(*WIDTHS, MDPConfig(trajectories=ROWS // MDPConfig.length))


def lines() -> Iterator[Line]:
    """A line of columns of several sizes for each kind of training."""
    titles = {
        "columns": ("CQL in a column, halfcheetah's widths", "update of one agent", cql, _ALONE),
        "columns-critics": (
            "critic pre-training in a column, halfcheetah's widths",
            "update of one run",
            critics,
            _ALONE,
        ),
        "columns-dt": ("Decision Transformer in a column, halfcheetah's widths", "update of one run", dt, _ALONE),
        "columns-gpt2": ("GPT-2 pre-training in a column, 1024 tokens a sequence", "token", gpt2, _ALONE),
    }
    for name, (title, unit, build, reference) in titles.items():
        yield Line(name, title, unit, build, reference=reference, on_gpu=True, only_gpu=True)


_ALONE = "one run, its random numbers as on the processor"


def cql() -> Work:
    """Updates of columns, with data, minibatches and noise; the product is large enough for the card's limit."""
    config, data = CQLConfig(), cql_memory.made_up_data(*WIDTHS, ROWS)
    agent = best(CQL, config)(*WIDTHS, config, q_max=1000.0, seed=0, device=chosen())
    generator = torch.Generator().manual_seed(0)

    def alone() -> None:
        noise = draw_noise(generator, BATCH_SIZE, WIDTHS[1], config.sampled_actions)
        agent.update(Transitions(*put(chosen(), *data.draw(BATCH_SIZE))), Noise(*put(chosen(), *noise)))

    sizes = _that_fit(footprints()["cql"]) if chosen() != CPU else RUNS_ON_A_PROCESSOR
    work = _work(cql_column, sizes, Contestant(alone), cql_flops.update(*WIDTHS, config.sampled_actions))
    for size in () if peer_jax.missing(chosen()) else [size for size in sizes if size <= MOST_OF_JAX]:
        agents = [CQL(*WIDTHS, config, q_max=1000.0, seed=seed) for seed in range(size)]
        run, finish = peer_jax.cql_column_updates(agents, data, BATCH_SIZE, chosen())
        work.contestants[f"JAX, {size} together" if size > 1 else "JAX, one agent"] = Contestant(run, size, finish)
    return work


def critics() -> Work:
    """Updates of columns of critic pre-trainings, with minibatches."""
    kind = best(CriticPretraining, _CRITICS)
    training = kind(_CRITICS, device=chosen())

    def alone() -> None:
        training.run(training.updates + 1)

    sizes = CRITICS if chosen() != CPU else CRITICS_ON_A_PROCESSOR
    return _work(critics_column, sizes, Contestant(alone), cql_flops.pretraining_update(*WIDTHS))


def dt() -> Work:
    """Updates of columns, with data, windows and dropout."""
    config = baseline_config(*WIDTHS)
    data = dt_memory.made_up_data(*WIDTHS)
    builder = best(BatchBuilder)(data)
    model = DecisionTransformer(config, 0).to(chosen())
    training = DTTraining(model, baseline_training(), best(predict_actions, config))

    def alone() -> None:
        windows = draw(data, training.config.batch_size, *update_generators(0, training.updates))
        training.update(builder.batch(*windows), dropout_generator(0, training.updates, chosen()))

    sizes = _that_fit(footprints()["dt"]) if chosen() != CPU else RUNS_ON_A_PROCESSOR
    return _work(dt_column, sizes, Contestant(alone), dt_flops.update(*WIDTHS))


def gpt2() -> Work:
    """Updates of columns of pre-trainings on a Markov chain, drawing the chain included."""
    sequences, sizes = (64, PRETRAININGS) if chosen() != CPU else (1, PRETRAININGS_ON_A_PROCESSOR)
    config = GPT2PretrainingConfig(vocabulary=100, batch_size=sequences)
    training = GPT2Pretraining(config, _chain(config), best(logits, config), device=chosen())
    units = config.batch_size * config.sequence_length

    def alone() -> None:
        training.update(training.batches(training.updates))

    operations = dt_flops.gpt2_update(100, batch_size=1) / config.sequence_length
    column_of = partial(gpt2_column, config)
    return _work(column_of, sizes, Contestant(alone, units), operations, units)


def cql_column(agents: int, device: torch.device | None = None) -> Column:
    """A column of CQL agents of full size."""
    return cql_memory.column_of(agents, WIDTHS, CQLConfig(), BATCH_SIZE, device or chosen())


def critics_column(runs: int, device: torch.device | None = None) -> Column:
    """A column of pre-trainings of full size."""
    return cql_memory.pretraining_column_of(runs, _CRITICS, device or chosen())


def dt_column(runs: int, device: torch.device | None = None) -> Column:
    """A column of Decision Transformers of full size."""
    return dt_memory.column_of(runs, baseline_config(*WIDTHS), baseline_training(), device or chosen())


def gpt2_column(config: GPT2PretrainingConfig, runs: int) -> Column:
    """A column of pre-trainings that read one chain."""
    return dt_memory.pretraining_column_of(runs, config, _chain(config), chosen())


def footprints() -> dict[str, Footprint]:
    """The memory of one run of the columns of CQL, its critics, and the Decision Transformer, from the shapes."""
    return {
        "cql": cql_memory.agent(WIDTHS, CQLConfig(), BATCH_SIZE),
        "critics": cql_memory.critics(_CRITICS),
        "dt": dt_memory.run(baseline_config(*WIDTHS), baseline_training()),
    }


def memory_beside_shapes(runs: int = 20) -> dict[str, dict[str, float]]:
    """{kind of :func:`footprints`: the bytes that one more run takes of a GPU: "from_shapes", and as "measured"}."""
    found = {}
    for (name, computed), column_of in zip(footprints().items(), (cql_column, critics_column, dt_column), strict=True):
        measured = (_peak(column_of, 1 + runs) - _peak(column_of, 1)) / runs
        found[name] = {**computed._asdict(), "from_shapes": computed.total, "measured": measured}
    return found


def _peak(column_of: Callable[[int], Column], runs: int) -> int:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    column_of(runs).update()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _that_fit(needed: Footprint) -> tuple[int, ...]:
    """The :data:`RUNS` that the card holds, of all columns at the same time."""
    most = fit(needed.total, memory(chosen()))
    return tuple(size for place, size in enumerate(RUNS) if sum(RUNS[place:]) <= most) or (1,)


def _work(
    column_of: Callable[[int], Column], sizes: tuple[int, ...], alone: Contestant, operations: float, units: int = 1
) -> Work:
    largest, *others = sizes
    contestants = {OURS: Contestant(column_of(largest).update, largest * units)}
    contestants |= {f"a column of {size}": Contestant(column_of(size).update, size * units) for size in others}
    contestants[_ALONE] = alone
    return Work(contestants, operations, (8192, 4096, 4096))


def _chain(config: GPT2PretrainingConfig) -> Callable[[int], Any]:
    chain = ChainConfig(states=config.vocabulary, length=config.sequence_length)

    def batches(update: int) -> np.ndarray:
        return fast_stream(chain, 0, range(update * config.batch_size, (update + 1) * config.batch_size))

    return batches
