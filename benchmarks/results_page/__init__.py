"""The sections of ``docs/results.md``, a module each; ``form`` has what they are made of, ``results.py`` puts them together."""
