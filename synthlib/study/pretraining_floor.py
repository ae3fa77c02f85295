"""How near GPT-2 comes to the best possible loss on the paper's chain: ``python -m synthlib.study.pretraining_floor``.

No model can have a lower loss than the chain's entropy rate. For 100 states at temperature 1 this floor is 4.565 nats
per token, and a uniform guess has 4.605 (faithfulness 1.10). The script trains a GPT-2 of the paper's size on sequences
of that chain and compares its loss on unseen sequences with the floor. The training is a job of the run store, so it
can be stopped and resumed. Short sequences are enough, because the chain remembers one token.
"""

import sys

from synthlib.dt.pretraining_jobs import pretraining_job
from synthlib.generators.information import information
from synthlib.generators.markov_chain import ChainConfig
from synthlib.paths import store_root
from synthlib.runs.job import Job
from synthlib.runs.store import Store
from synthlib.study.cost import seconds_of
from synthlib.study.engine import run_jobs

TOLERANCE = 0.01  # nats per token
SETTINGS = {
    "pretraining_scale": 1 / 64,  # 1,250 updates in all, 156 of them warm-up
    "pretraining_batch_size": 64,
    "pretraining_sequence_length": 64,
    "pretraining_learning_rate": 1e-3,
    "pretraining_sequences": 120_000,
    "validation_sequences": 512,
}


def floor_job() -> Job:
    """The pre-training job: the default chain, to the end of the learning-rate schedule."""
    return pretraining_job({"pretraining_updates": 80_000}, SETTINGS)


def main() -> int:
    """Train if needed and print the losses. Returns 0 if the last is within :data:`TOLERANCE` of the floor, else 1."""
    job, store = floor_job(), Store(store_root())
    if not store.is_done(job):
        seconds = seconds_of([job])
        print(f"{job.updates} updates, about {seconds[job.key] / 60:.0f} minutes on one core; runs in {store_root()}")
        run_jobs([job], store, workers=1, seconds=seconds)
    losses = store.losses(job).dropna(subset="validation_loss")
    floor = information(ChainConfig(**job.config["data"]["chain"])).entropy_rate
    losses["above_floor"] = losses["validation_loss"] - floor
    print(losses[["updates", "validation_loss", "above_floor"]].iloc[3::4].to_string(index=False))
    last, within = losses.iloc[-1], losses[losses["above_floor"] <= TOLERANCE]
    print(
        f"The floor is {floor:.4f} nats per token; {job.updates} updates end {last['above_floor']:.4f} above it", end=""
    )
    print(f", within {TOLERANCE} from update {within['updates'].iloc[0]} on" if len(within) else "")
    return 0 if last["above_floor"] <= TOLERANCE else 1


if __name__ == "__main__":
    sys.exit(main())
