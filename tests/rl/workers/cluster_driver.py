"""A run in small for tests of shutdown: starts engines only, says so, then draws until somebody stops it. `python -m
tests.rl.workers.cluster_driver FOLDER`."""

from __future__ import annotations

import sys
from pathlib import Path

from rl.workers import interrupts


def main(folder: Path) -> None:
    interrupts.install()
    print("STARTING", flush=True)
    from rl.workers.cluster import start
    from tests.rollouts.engine.engine_cases import config_for, prompts_of, requests_of, settings

    with start(config_for(folder), folder, total_updates=None) as cluster:
        print("READY", flush=True)
        requests = requests_of(prompts_of(folder), per_prompt=8)
        while True:
            for _ in cluster.rollout.sample(requests, settings(0, length=256)):
                print("SAMPLING", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
