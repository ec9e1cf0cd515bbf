"""Know Your Space (MIDL 2023): not built yet."""
