"""Training: the loop, its moving averages, and what a run writes."""
