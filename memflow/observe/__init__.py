"""Shows a run while it goes and when it is over: a live view, plain lines, a summary.

Each module here reads snapshots and events and is unknown to what it observes.
"""
