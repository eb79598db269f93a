"""Ablations: one command each, resumable, with its budget as a flag. From the folder ``benchmarks``:

    python -m ablations.losses | clusters | labels | reals | parts --help

A command writes JSON rows and a picture sheet into ``--results``; ``python results.py`` makes ``docs/results.md`` of all of them.
"""
