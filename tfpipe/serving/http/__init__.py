"""The REST side of the server: requests, responses, page."""
