"""A folder with a JSON in COCO's form: `builder` makes its records."""
