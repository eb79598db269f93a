"""How many pictures each part of an evaluation takes. Read as ``counts.NAME``."""

BATCH, BATCH_OFF_CPU = 5, 25  # pictures at a time; few of them stay in a CPU's cache
CHUNK = 250  # pictures between two points from which a stopped evaluation resumes
DEFAULT_COUNT = 2000
PAPER_COUNT = 28_000  # supplement B.1
OWN_MASK = 100  # samples under their own proxy mask, at most
CONSISTENT_STYLES, CONSISTENT_MASKS = 20, 25
BASELINE = 500  # pictures of each baseline, at most
GROUPS, PAIRS = 10, 10  # supplement C.1: groups of pictures, and scores between two groups
DIVERSE, PAPER_DIVERSE = 50, 500  # masks in each group, at most
SHOWN = 8  # pictures in a row of the report
