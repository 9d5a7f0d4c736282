"""SNLI-VE: `builder` makes the records of pictures with hypotheses."""
