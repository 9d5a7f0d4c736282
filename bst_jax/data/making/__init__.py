"""Making data sets: from a user's files to records on disk, once."""
