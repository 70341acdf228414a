"""What the checks watch a model with, and what they do to it."""
