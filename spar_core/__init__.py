"""SPaR search: judge, refine and search over model answers."""
