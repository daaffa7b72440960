"""`python -m rl.doctor [overrides]`: composes the run without starting it, says what it would do in numbers, and checks
what would stop it.

With `benchmark=[..]` it loads and checks benchmarks instead (rl/doctor/cards/).

No Ray and no engine is started and nothing is written; each endpoint of the judge is asked one question, as by the run.
Exit code 0 when no check fails, 1 when one does, 2 when nothing could be checked (`rollouts.terminal`). What could not
be looked at, such as a model on a Hub that does not answer, is no failure; it is marked and counted.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from judges import make_judge
from rewards.contract import RewardError
from rewards.rubric import make_rubric
from rewards.scorer import Scorer
from rl.config import Config, JudgeConfig
from rl.config.door import from_command_line
from rollouts.terminal import DONE, FAILED, accept_any_stdout, open_console, require

COMMAND = "python -m rl.doctor"
PURPOSE = """\
Composes a run without starting it, and checks what would stop it.
  benchmark=[slake_en,vqa_rad] benchmark_root=FOLDER   checks benchmarks instead, with what blindness earns
  benchmark=fleming_table3                             the same of the columns of a paper's table"""


def main(argv: Sequence[str]) -> int:
    """The command. Returns its exit code."""
    config = from_command_line(argv, COMMAND, PURPOSE)
    require(COMMAND, "train")
    if config.eval.benchmarks:
        return _benchmarks(config)
    # Here, because the model libraries take seconds that nobody should wait for to learn of a typing error.
    from rl.doctor.checks import examine, tell
    from rl.doctor.data import Finding

    console = open_console()
    # Reference answers are checked by rule, so that the doctor costs one judge call for each endpoint: that by which it
    # sees whether the judge answers.
    try:
        rubric = make_rubric(config.reward, make_judge(JudgeConfig()))
    except RewardError as error:
        tell([("Rewards", [Finding(False, f"a reward cannot work: {error}")])], console)
        return FAILED
    with Scorer(rubric) as scorer:
        tally = tell(examine(config, scorer), console)
    console.print(f"\n{tally.in_words if any(tally) else 'All checks passed: the run can start.'}")
    return FAILED if tally.bad else DONE


def _benchmarks(config: Config) -> int:
    """`benchmark=[..]`: cards are checked, and no run is."""
    from rl.doctor.cards.examining import examine_benchmarks
    from rl.doctor.checks import tell
    from rl.run import failures

    console = open_console()
    with failures.exit_on_failure(COMMAND):
        tally = tell(examine_benchmarks(config, console), console)
    console.print(f"\n{tally.in_words}")
    return FAILED if tally.bad else DONE


if __name__ == "__main__":
    accept_any_stdout()
    sys.exit(main(sys.argv[1:]))
