"""Scenes of the project's own, ray-cast on the CPU (extra ``scenes``): churches and bedrooms with exact masks and depth."""
