"""One call's way from items to results, and the processor that makes such calls."""
