"""Know Your Space (MIDL 2023): the mathematics; commands, data and training are not built yet."""
