"""Results of measurements as JSON, intervals, reports as Markdown and HTML, and plots as SVG."""
