"""Policy, reference and engines as processes: Ray, placement, interruption."""
