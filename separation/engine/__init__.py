"""The separation engine: a child program that reads a plan and writes stems.

Only the child imports torch and demucs; importing this package imports neither. Run it as
`python -m separation.engine PLAN.json`, and the light probe as `python -m separation.engine.probe PATH`.
"""
