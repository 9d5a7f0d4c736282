"""Lists of captions: `builder` makes records of a folder's pictures of them."""
