"""The studio: a local web app in which masks are painted and pictures are seen. Needs the extra ``proxymask[studio]``."""
