"""Pretrained autoencoders, in whose latent space flows can be learned. Nothing is trained here."""
