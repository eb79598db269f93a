"""Labelling samples of the generator and training on the labels, from the studio."""
