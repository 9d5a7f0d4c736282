"""GQA: `builder` makes the records of pictures with balanced questions."""
