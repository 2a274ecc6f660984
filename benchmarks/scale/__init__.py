"""Features that do not fit memory: time and memory of fit, transform and export."""
