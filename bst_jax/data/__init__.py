"""Data sets, from records on disk to numpy batches.

`source.load` is the way in. Importing this package alone loads neither TFDS
nor grain.
"""
