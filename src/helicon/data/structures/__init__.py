"""Proteins whose contacts are known."""
