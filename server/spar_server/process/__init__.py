"""The server's processes: their configuration, how it is read again, and one or several workers."""
