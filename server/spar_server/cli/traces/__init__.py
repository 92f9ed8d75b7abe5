"""`spar traces`: look at stored searches, export them and run them again."""
