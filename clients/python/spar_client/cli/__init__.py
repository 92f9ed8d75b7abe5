"""`spar chat` and `spar batch`; with the extra `cli` also `spar-client chat` and `spar-client batch`."""
