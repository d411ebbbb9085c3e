"""One part of the cloud a file."""
