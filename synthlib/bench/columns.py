"""The line of ``make bench DEVICE=cuda`` that says what columns are for: one program for many agents.

The contestants are columns of different numbers of agents; the unit is one update of one agent.
"""

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from synthlib.bench.lines import OURS, Contestant, Line, Work
from synthlib.cql import flops
from synthlib.cql.agent import CQLConfig
from synthlib.cql.agent_fast import FastCQL
from synthlib.cql.batches import Noise, draw_noise
from synthlib.cql.column import Column, Member
from synthlib.cql.jobs import BATCH_SIZE
from synthlib.machine.devices import CPU, chosen, put
from synthlib.offline.datasets import CQLData, Transitions

WIDTHS = 17, 6  # halfcheetah
AGENTS = (420, 140, 20, 1)
"""Table 6's arms, data sets and seeds of halfcheetah; one data set of it; one arm's seeds; one run."""
AGENTS_ON_A_PROCESSOR = (4, 1)
ROWS = 100_000
_ALONE = "one run, its noise from the processor"


def line() -> Line:
    """Columns of several sizes."""
    title = f"CQL, {AGENTS[0]} agents in one program, halfcheetah's widths"
    return Line("columns", title, "update of one agent", columns, reference=_ALONE, on_gpu=True, only_gpu=True)


def columns() -> Work:
    """Updates of columns, data, minibatches and noise included; the product is large enough for the card's limit."""
    largest, *others = AGENTS if chosen() != CPU else AGENTS_ON_A_PROCESSOR
    config = CQLConfig()
    agent, data = FastCQL(*WIDTHS, config, q_max=1000.0, seed=0, device=chosen()), made_up_data()
    generator = torch.Generator().manual_seed(0)

    def alone() -> None:
        noise = draw_noise(generator, BATCH_SIZE, WIDTHS[1], config.sampled_actions)
        agent.update(Transitions(*put(chosen(), *data.draw(BATCH_SIZE))), Noise(*put(chosen(), *noise)))

    contestants = {OURS: Contestant(column_of(largest).update, largest)}
    contestants |= {f"a column of {size}": Contestant(column_of(size).update, size) for size in others}
    contestants[_ALONE] = Contestant(alone)
    return Work(contestants, flops.update(*WIDTHS, config.sampled_actions), (8192, 4096, 4096))


def column_of(agents: int) -> Column:
    """A column of ``agents`` agents of full size on made-up data."""
    data, config = made_up_data(), CQLConfig()
    members = [
        Member(FastCQL(*WIDTHS, config, q_max=data.q_max, seed=seed, device=chosen()), data, seed)
        for seed in range(agents)
    ]
    return Column(members, BATCH_SIZE)


def memory_per_agent(agents: int = 20) -> float:
    """Bytes of the GPU's memory that one more agent of a column takes, its activations included."""
    peaks = []
    for size in (1, 1 + agents):
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        column = column_of(size)
        column.update()
        torch.cuda.synchronize()
        peaks.append(torch.cuda.max_memory_allocated())
        del column
    return (peaks[1] - peaks[0]) / agents


def made_up_data() -> CQLData:
    """:data:`ROWS` random transitions of halfcheetah's widths."""
    rng, (observation_width, action_width) = np.random.default_rng(0), WIDTHS
    dataset = SimpleNamespace(
        observations=rng.standard_normal((ROWS + 1, observation_width), dtype=np.float32),
        actions=np.tanh(rng.standard_normal((ROWS + 1, action_width), dtype=np.float32)),
        rewards=rng.standard_normal(ROWS + 1, dtype=np.float32),
        terminals=np.zeros(ROWS + 1, dtype=bool),
    )
    return CQLData(cast(Any, dataset), np.arange(ROWS, dtype=np.int32), 1000.0, np.random.RandomState(0))
