"""Where the user's function runs: on the loop or in threads; one Protocol for all."""
