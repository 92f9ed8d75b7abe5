"""What `spar train` runs, shows, sizes and ships."""
