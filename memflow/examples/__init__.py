"""Jobs that run as they are, on input that every machine has."""
