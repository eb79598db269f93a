"""The forms in which masks come: colours, ids, palettes, folders of one file a class, annotations. ``masks.read_mask`` chooses."""
