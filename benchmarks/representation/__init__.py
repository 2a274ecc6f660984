"""What the parts hold, against other ways to find what two views share. Run ``python -m benchmarks.representation``."""
