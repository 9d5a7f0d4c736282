"""UP-ViTs: which channels and layers a trained model can do without.

Reference: Yu & Wu, "A Unified Pruning Framework for Vision Transformers",
  arXiv 2111.15127.
"""
