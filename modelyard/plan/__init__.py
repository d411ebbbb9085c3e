"""An environment without a cloud: what would exist, what it would cost and what is wrong with it."""
