"""How far samples and flow maps are from the truth: distances, features and their scores, LPIPS, flow-map defects.

This room never imports ``training`` or ``losses``. The package itself and its ``catalogue`` import without torch.
"""
