"""HTTP endpoints, one file or folder per resource: request schema, response bodies and route."""
