"""What Modelyard does on AWS itself, against an AWS on loopback."""
