"""``delist bench``: rates here, and the peer's beside them when it is installed, in one run.

Machines are noisy, so every round takes each contestant in turn with the same input, and
ratios are taken inside a round; what is reported are medians over rounds. docs/benchmarks.md
says what is measured and what the fields mean.
"""
