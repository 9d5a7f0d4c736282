"""This process and its machine: flags, files, signals, other processes."""
