"""What a run has measured, kept and shown: results as JSON, reports as Markdown and HTML, plots as SVG."""
