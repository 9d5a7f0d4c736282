"""NLVR2: `builder` makes the records of pictures with statements about two."""
