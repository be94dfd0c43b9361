"""How the pieces scale: rates measured here, a cost model fed by them, tables and plots.

``python -m tests.benchmarks.scale measure --to rates.json`` measures in processor seconds, which
others at work on the same machine inflate less than the clock; ``… model --rates rates.json
--plots docs`` prints the tables of docs/scale.md and draws its plots.
"""
