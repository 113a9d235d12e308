"""Workloads in real memory groups with a hard limit: who is killed, and how fast the others are."""
