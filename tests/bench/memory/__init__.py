"""An update's memory without a GPU: `python -m tests.bench.memory [LAYERS]` counts it with fake tensors and fake ranks,
beside the doctor's arithmetic (decoder layers; all of them take minutes)."""
