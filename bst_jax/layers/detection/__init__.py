"""Boxes in pictures at fixed shapes: pure functions of one picture, for vmap."""
