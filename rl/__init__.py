"""Learning and the commands: data sets, SFT, the GRPO loop and its maths, workers on Ray, evaluation, replay."""

import os

# Read once by OpenMP's runtime, when torch is loaded: how often an idle thread looks for work before it sleeps. GNU's
# default of 300,000 looks is some ten milliseconds, during which a waiting worker takes a core from whoever works: with
# one more process on two cores a step took five times as long. 10,000 looks lose nothing on a quiet machine (LOG.md).
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
