"""How well a judge agrees with labelled answers, and whether that is good enough to train on."""
