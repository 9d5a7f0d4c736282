"""Flickr30K: `builder` makes the records of pictures with five captions."""
