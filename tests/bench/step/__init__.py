"""A GRPO step against its floors and against TRL: `python -m tests.bench.step`, and the parts it calls."""
