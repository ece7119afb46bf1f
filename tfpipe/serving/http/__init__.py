"""REST API of the server: application, handlers, payloads, pages."""
