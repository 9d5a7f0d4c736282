"""COCO captions: `builder` makes the records of pictures with five captions."""
