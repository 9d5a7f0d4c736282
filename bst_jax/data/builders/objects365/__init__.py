"""Objects365: `builder` makes the records of pictures with objects in boxes."""
