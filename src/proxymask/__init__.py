"""Spatial control of an unconditional image generator without a labelled data set."""

__version__ = "0.1.0"
