"""A supervised rival in the project's own code: a conditional GAN of the OASIS kind, written from the paper's description.

Source: Sushko et al., "You Only Need Adversarial Supervision for Semantic Image Synthesis", ICLR 2021 (arXiv 2012.04781).
"""
