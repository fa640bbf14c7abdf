"""Faster ways to compute what Demucs's layers compute, put in place of them after a network is loaded.

Each module owns one kind of layer, keeps its result to float32 rounding, and leaves alone what it does not know.
"""
