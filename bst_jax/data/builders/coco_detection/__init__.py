"""COCO 2017: `builder` makes the records of pictures with objects in boxes."""
