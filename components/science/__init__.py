"""The plain functions that components call: no kfp, no network."""
