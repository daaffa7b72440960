"""The embedded judge: a server of its own on this machine, watched and ended with the run."""
