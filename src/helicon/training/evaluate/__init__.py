"""Measuring any saved model."""
