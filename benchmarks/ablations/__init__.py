"""Ablations: one command each, resumable, with its budget as a flag. From the folder ``benchmarks``:

    python -m ablations.parts | published | losses | clusters | labels --help

Each is a set of arms (``arms.py``); a command writes their JSON rows and a picture sheet to ``--out``; ``python results.py`` makes
``docs/results.md`` of all of them.
"""
