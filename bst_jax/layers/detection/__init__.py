"""Boxes in pictures at fixed shapes: pure functions of one picture, to vmap."""
